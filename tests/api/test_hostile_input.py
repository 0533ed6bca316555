"""What comes in broken or hostile: refused with a 4xx that names it, nothing written, never a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from returns_service.domain.problems import Problem
from returns_service.web.operations.bodies import validate
from returns_service.web.operations.returns import CreateReturn
from tests.harness.served_shop import ServedShop, expect, return_body

LINE = {"sku": "SHIRT", "quantity": 1, "total_amount": 100}
RAW: dict[str, tuple[bytes, int]] = {
    "cut off": (b'{"order_id": "1"', 400),
    "no object": (b"[]", 400),
    "a number": (b"1", 400),
    "null": (b"null", 400),
    "not UTF-8": (b'{"order_id": "\xff"}', 400),
    "UTF-16": ('{"order_id": "1"}'.encode("utf-16"), 400),
    "byte order mark": (b"\xef\xbb\xbf{}", 400),
    "twice": (b'{"order_id": "1", "order_id": "2"}', 400),
    "twice, deep": (b'{"lines": [{"sku": "1", "sku": "2"}]}', 400),
    "NaN": (b'{"shipping_amount": NaN}', 400),
    "infinite": (b'{"shipping_amount": -Infinity}', 400),
    "half a character": (rb'{"order_id": "\ud800"}', 400),
    "half a character in a name": (rb'{"\ud800": 1}', 400),
    "half a character twice": (rb'{"\ud800": 1, "\ud800": 1}', 400),
    "deep array": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deep object": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
    "many digits": (b'{"shipping_amount": ' + b"9" * 10_000 + b"}", 400),
    "large exponent": (b'{"shipping_amount": 1e999}', 422),
    "over a megabyte": (b'{"order_id": "' + b"x" * 1_048_576 + b'"}', 413),
}
FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "true as a number": ({"shipping_amount": True}, "shipping_amount"),
    "text as a number": ({"shipping_amount": "5"}, "shipping_amount"),
    "1.0 as a number": ({"shipping_amount": 1.0}, "shipping_amount"),
    "1.5": ({"shipping_amount": 1.5}, "shipping_amount"),
    "below zero": ({"shipping_amount": -1}, "shipping_amount"),
    "2^63": ({"shipping_amount": 2**63}, "shipping_amount"),
    "no units": ({"lines": [LINE | {"quantity": 0}]}, "lines[0].quantity"),
    "null units": ({"lines": [LINE | {"quantity": None}]}, "lines[0].quantity"),
    "too many units": ({"lines": [LINE | {"quantity": 2**31}]}, "lines[0].quantity"),
    "no lines": ({"lines": []}, "lines"),
    "10 000 lines": ({"lines": [LINE] * 10_000}, "lines"),
    "lines as an object": ({"lines": {"0": LINE}}, "lines"),
    "a line as text": ({"lines": ["SHIRT"]}, "lines[0]"),
    "unknown field": ({"amount": 5}, "amount"),
    "unknown field in a line": ({"lines": [LINE | {"id": "rli_1"}]}, "lines[0].id"),
    "an id of one's own": ({"id": "ret_1"}, "id"),
    "a state of one's own": ({"state": "refunded"}, "state"),
    "NUL": ({"order_id": "a\0b"}, "order_id"),
    "NUL in metadata": ({"metadata": {"a": "\0"}}, "metadata.a"),
    "empty order": ({"order_id": ""}, "order_id"),
    "long order": ({"order_id": "x" * 201}, "order_id"),
    "order as a number": ({"order_id": 98765}, "order_id"),
    "long reason": ({"reason": "x" * 1001}, "reason"),
    "currency in capitals": ({"currency": "USD"}, "currency"),
    "currency of four": ({"currency": "usdc"}, "currency"),
    "currency with a line's end": ({"currency": "usd\n"}, "currency"),
    "no mail address": ({"customer_email": "nobody"}, "customer_email"),
    "two mail addresses": ({"customer_email": "a@b.c\nBcc: d@e.f"}, "customer_email"),
    "time without zone": ({"purchased_at": "2026-01-02T03:04:05"}, "purchased_at"),
    "time as a number": ({"purchased_at": 1}, "purchased_at"),
    "no time": ({"purchased_at": "yesterday"}, "purchased_at"),
    "metadata as text": ({"metadata": "x"}, "metadata"),
    "metadata of numbers": ({"metadata": {"a": 1}}, "metadata.a"),
    "metadata deep": ({"metadata": {"a": {"b": "c"}}}, "metadata.a"),
    "no payment": ({"payment_intent": None}, "payment_intent"),
    "payment as a path": ({"payment_intent": "pi_1/../x"}, "payment_intent"),
    "payment as an object": ({"payment_intent": {"id": "pi_1"}}, "payment_intent"),
}
BODIES: dict[str, dict[str, Any]] = {
    "receipts": {"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}]},
    "refund": {},
    "retry": {},
    "settle_outside": {"method": "cash", "reference": "1"},
    "approve": {},
    "decline": {"reason": "x"},
    "cancel": {"reason": "x"},
    "close": {"reason": "x"},
}


async def post_raw(shop: ServedShop, path: str, content: bytes, kind: str = "application/json") -> httpx.Response:
    headers = {"Content-Type": kind, "Idempotency-Key": "k"}
    return await shop.client.post(path, content=content, headers=headers)


@pytest.mark.parametrize("name", RAW)
async def test_a_body_that_is_no_json_object_is_refused(shop: ServedShop, name: str) -> None:
    content, status = RAW[name]
    code = {400: "malformed_request", 413: "body_too_large", 422: "invalid_request"}[status]
    for path in ("/v1/returns", "/v1/returns/ret_x/refund"):
        expect(await post_raw(shop, path, content), status, code)
    assert set((await shop.count_rows()).values()) == {0}


@pytest.mark.parametrize("name", FIELDS)
async def test_a_wrong_field_is_named(shop: ServedShop, name: str) -> None:
    change, param = FIELDS[name]
    problem = expect(await shop.post("/v1/returns", return_body("pi_1") | change), 422, "invalid_request")
    assert [error["param"] for error in problem["errors"]] == [param]
    assert problem["errors"][0]["message"]
    assert shop.wire.requests == []
    assert set((await shop.count_rows()).values()) == {0}


async def test_all_wrong_fields_are_named_at_once(shop: ServedShop) -> None:
    body = {"currency": "USD", "lines": [LINE | {"quantity": -1}, {"sku": 5}], "colour": "red"}
    problem = expect(await shop.post("/v1/returns", body), 422, "invalid_request")
    assert {(error["param"], error["code"]) for error in problem["errors"]} == {
        ("payment_intent", "missing"), ("order_id", "missing"), ("currency", "invalid"), ("colour", "unknown_field"),
        ("lines[0].quantity", "too_small"), ("lines[1].sku", "invalid"), ("lines[1].quantity", "missing"),
        ("lines[1].total_amount", "missing"),
    }  # fmt: skip


ODD: tuple[dict[str, Any], ...] = (
    {}, {"lines": 1}, {"lines": [1], "metadata": 1, "colour": 1}, {"lines": [], "order_id": "", "currency": "USD"},
    {"lines": [LINE | {"quantity": 0, "sku": "x" * 201, "barcodes": ["1"] * 99}], "order_id": 1, "resolution": "x"},
    {"lines": [LINE | {"total_amount": 10**13}], "customer_email": "x", "purchased_at": 1, "tracking_numbers": [""]},
)  # fmt: skip


def test_whatever_is_wrong_is_said_in_our_words() -> None:
    messages = set()
    for body in ODD:
        with pytest.raises(Problem) as raised:
            validate(CreateReturn, body)
        messages |= {error["message"] for error in raised.value.facts["errors"]}
    assert messages > {
        "Is required", "There is no such field", "Must be a text", "Must be 1 or more characters long",
        "Must hold 1 or more entries", "Must be at most 200 characters long", "Must be at least 1", "Must be a list",
        "Must be an object", "Must match ^[a-z]{3}$", "Must be 'refund', 'store_credit' or 'exchange'",
    }  # fmt: skip
    assert [one for one in messages if not one.startswith(("Is ", "Must ", "There ", "Name "))] == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"])
async def test_another_content_type_is_refused(shop: ServedShop, kind: str) -> None:
    content = json.dumps(return_body("pi_1")).encode()
    expect(await post_raw(shop, "/v1/returns", content, kind), 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_json_however_it_is_written(shop: ServedShop, kind: str) -> None:
    expect(await post_raw(shop, "/v1/returns", json.dumps(return_body(shop.pay())).encode(), kind), 201)


async def test_a_slip_in_the_century_is_told_back_as_it_came(shop: ServedShop) -> None:
    long_ago = "0202-01-02T03:04:05Z"
    made = await shop.create_return(purchased_at=long_ago)
    assert (await shop.read_return(made["id"]))["purchased_at"] == made["purchased_at"] == long_ago
    since = await shop.get("/v1/returns", params={"created[gte]": long_ago})
    assert [row["id"] for row in expect(since, 200)["data"]] == [made["id"]]


async def test_an_empty_body_is_an_empty_object(shop: ServedShop) -> None:
    made = await shop.create_return(purchased_at=shop.time.isoformat())
    answer = await shop.client.post(f"/v1/returns/{made['id']}/approve")
    assert expect(answer, 200)["state"] == "approved"
    expect(await shop.client.post("/v1/returns"), 422, "invalid_request")


@pytest.mark.parametrize(
    "name", ["ret_nobody", "pay_1", "%00", "%FF", "a%2Fb", "..%2F..", "x" * 4000, "%27%20OR%201=1--", "é"]
)
async def test_an_odd_id_is_not_found(shop: ServedShop, name: str) -> None:
    for action, body in BODIES.items():
        expect(await shop.post(f"/v1/returns/{name}/{action}", body), 404, "not_found")


@pytest.mark.parametrize("name", ["x", "%00", "%FF", "%F0%9F%98%80", "pay_%00", "pi_x" + "y" * 3000])
async def test_an_odd_id_is_not_there_to_be_read(shop: ServedShop, name: str) -> None:
    for path in ("/v1/returns/", "/v1/refunds/", "/v1/payments/", "/errors/", "/docs/"):
        expect(await shop.get(path + name), 404, "not_found")
    expect(await shop.get(f"/v1/returns/{name}/events"), 404, "not_found")


async def test_an_unknown_path_and_another_method_are_problems_too(shop: ServedShop) -> None:
    for path in ("/v1/nothing", "/nothing", "/v1/returns/x/y/z"):
        problem = expect(await shop.get(path), 404, "not_found")
        assert problem["instance"] == path
    answer = await shop.client.delete("/v1/returns")
    expect(answer, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(answer.headers["allow"].replace(" ", "").split(","))


async def test_every_answer_has_its_id_and_keeps_a_browser_from_guessing(shop: ServedShop) -> None:
    for answer in [await shop.get(path) for path in ("/v1/returns", "/v1/nothing", "/healthz", "/docs")]:
        assert answer.headers["request-id"].startswith("req_")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert (await shop.get("/v1/returns")).headers["cache-control"] == "no-store"


async def test_our_own_mistake_is_a_500_that_tells_nothing(shop: ServedShop) -> None:
    secret = "do not tell"

    class Broken(type(shop.context.gateway)):  # type: ignore[misc]
        async def read_payment(self, **_: Any) -> Any:
            raise RuntimeError(secret)

    shop.context.gateway.__class__ = Broken
    problem = expect(await shop.post("/v1/returns", return_body(shop.pay())), 500, "internal_error")
    assert secret not in json.dumps(problem)
    assert set((await shop.count_rows()).values()) == {0}


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "'; DROP TABLE refund; --", "😀\u202e\u2028", "=cmd|' /C'!A1"]
)
async def test_odd_text_is_kept_as_it_is(shop: ServedShop, text: str) -> None:
    body = return_body(shop.pay(), order_id=text, reason=text, metadata={"note": text})
    made = expect(await shop.post("/v1/returns", body), 201)
    read = await shop.read_return(made["id"])
    assert (read["order_id"], read["reason"], read["metadata"]) == (text.strip(), text, {"note": text})
    found = expect(await shop.get("/v1/returns", params={"q": text, "order_id": text}), 200)["data"]
    assert [row["id"] for row in found] == [made["id"]]
