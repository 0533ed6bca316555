"""What every answer does by HTTP's own rules: HEAD, Allow, compression, rate limits; and the contract's page."""

from __future__ import annotations

import json
import re

import pytest

from returns_service.web.rate_limit import BURST, Limiter
from returns_service.web.routes import OPERATIONS
from tests.harness.served_shop import ServedShop, expect

OPEN = ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.yaml", "/openapi.json", "/errors/not_found"]
ALL_METHODS = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"]


@pytest.mark.parametrize("path", [*OPEN, *(one.path for one in OPERATIONS if one.method == "GET")])
async def test_head_answers_as_get_without_a_body(shop: ServedShop, path: str) -> None:
    made = await shop.create_return()
    path = path.format_map({"return_id": made["id"], "payment_id": made["payment"]} | dict.fromkeys(names(path), "x"))
    asked = await shop.client.request("HEAD", path, headers={"Accept": "*/*, text/event-stream;q=0.1"})
    got = await shop.get(path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    if "/healthz" in path or "/v1/policy" in path:
        assert asked.headers["content-length"] == got.headers["content-length"]


def names(path: str) -> set[str]:
    """Return the parameters of a path that no row here has."""
    return set(re.findall(r"\{(\w+)\}", path)) - {"return_id", "payment_id"}


@pytest.mark.parametrize("path", ["/v1/returns", "/v1/returns/{return_id}/approve", "/v1/policy", "/healthz", "/docs"])
async def test_allow_names_every_method_that_is_answered(shop: ServedShop, path: str) -> None:
    refused = await shop.client.request("PATCH", path)
    expect(refused, 405, "method_not_allowed")
    allowed = {method.strip() for method in refused.headers["allow"].split(",")}
    answered = {method for method in ALL_METHODS if (await shop.client.request(method, path)).status_code != 405}
    assert allowed == answered
    options = await shop.client.request("OPTIONS", path)
    assert {method.strip() for method in options.headers["allow"].split(",")} == allowed


async def test_long_answers_are_compressed_where_asked(shop: ServedShop) -> None:
    await shop.create_return()
    for path, compressed in (("/v1/returns", True), ("/openapi.yaml", True), ("/healthz", False)):
        answer = await shop.get(path, headers={"Accept-Encoding": "gzip"})
        assert (answer.headers.get("content-encoding") == "gzip") == compressed, path
        plain = await shop.get(path, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.text == answer.text
        if compressed:
            assert "accept-encoding" in answer.headers["vary"].lower()
            assert int(answer.headers["content-length"]) < len(plain.content)


async def test_each_counted_answer_says_how_many_more_may_come(shop: ServedShop) -> None:
    shop.context.keys = Limiter(2)
    quota = 2 * BURST
    for left in range(quota - 1, -1, -1):
        answer = await shop.get("/v1/returns/ret_none")
        assert answer.headers["ratelimit-policy"] == f'"requests";q={quota};w={BURST}'
        found = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
        assert found
        assert int(found[1]) >= left
    over = [await shop.get("/v1/returns") for _ in range(20)]
    (refused, *_) = [answer for answer in over if answer.status_code == 429]
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert "ratelimit" not in (await shop.get("/healthz")).headers


async def test_the_contract_is_served_in_both_forms_and_its_page_at_both_paths(shop: ServedShop) -> None:
    served = json.loads((await shop.get("/openapi.json")).text)
    assert served["openapi"] == "3.1.0"
    assert (await shop.get("/openapi.json")).headers["content-type"].startswith("application/json")
    moved = await shop.get("/docs/")
    assert (moved.status_code, moved.headers["location"]) == (308, "../docs")
    assert (await shop.get("/docs/", follow_redirects=True)).text == (await shop.get("/docs")).text
