"""One line and one observation a request: method, route, status, milliseconds, who, request id; never a path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from tests.harness.served_shop import ServedShop


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def of_requests(lines: list[Any]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "http.request"]


async def durations(shop: ServedShop) -> dict[tuple[str, str], float]:
    """Return how often each histogram was observed, by its name and its first label."""
    text = (await shop.get("/metrics")).text
    return {
        (family.name, next((v for k, v in sorted(sample.labels.items()) if k != "le"), "")): sample.value
        for family in text_string_to_metric_families(text)
        if family.type == "histogram"
        for sample in family.samples
        if sample.name.endswith("_count")
    }


async def test_each_request_is_one_line(shop: ServedShop, lines: list[Any]) -> None:
    made = await shop.create_return()
    answer = await shop.get(f"/v1/returns/{made['id']}?expand[]=refunds")
    assert (await shop.client.head("/v1/returns")).status_code == 200
    assert (await shop.client.get("/v1/returns", headers={"Authorization": "Bearer rsk_no"})).status_code == 401
    assert (await shop.get("/nothing/Muster")).status_code == 404
    created, read, head, refused, missing = of_requests(lines)
    assert (created["method"], created["route"], created["status"]) == ("POST", "/v1/returns", 201)
    assert (read["method"], read["route"], read["status"]) == ("GET", "/v1/returns/{return_id}", 200)
    assert read["request_id"] == answer.headers["request-id"]
    assert read["ms"] > 0
    assert read["by"].startswith("key_")
    assert (head["method"], refused["status"], refused["by"]) == ("HEAD", 401, None)
    assert (missing["route"], missing["status"]) == ("none", 404)
    assert "Muster" not in str(missing)


async def test_what_machines_ask_all_the_time_is_told_to_who_wants_it(shop: ServedShop, lines: list[Any]) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        await shop.get(path)
    assert [line["log_level"] for line in of_requests(lines)] == ["debug"] * 3


async def test_requests_calls_claims_and_folds_are_timed(shop: ServedShop) -> None:
    before = await durations(shop)
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    after = await durations(shop)
    grown = {name for name, number in after.items() if number > before.get(name, 0)}
    assert grown >= {
        ("returns_http_request_seconds", "/v1/returns/{return_id}/receipts"),
        ("returns_http_request_seconds", "/webhooks/stripe"),
        ("returns_stripe_call_seconds", "POST"),
        ("returns_claim_seconds", ""),
        ("returns_fold_seconds", ""),
    }
