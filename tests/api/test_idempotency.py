"""The same Idempotency-Key: one effect, one answer; without one, the locks alone keep money from moving twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from returns_service.web.operations.operation import KEY_OPTIONAL
from returns_service.web.routes import OPERATIONS
from tests.harness.served_shop import ServedShop, expect, return_body


async def ready(shop: ServedShop) -> str:
    """The path of a return with units received that nobody has paid yet."""
    shop.context.policy = replace(shop.context.policy, refund_on="manual")
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 3)
    return f"/v1/returns/{made['id']}"


async def test_a_replay_is_the_first_answer_byte_for_byte(shop: ServedShop) -> None:
    body = return_body(shop.pay())
    first = await shop.post("/v1/returns", body, key="k1")
    expect(await shop.post(f"{first.headers['location']}/approve", {"override_reason": "x"}), 200)
    again = await shop.post("/v1/returns", body, key="k1")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    for name in ("location", "etag", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["request-id"] != first.headers["request-id"]
    assert (await shop.count_rows())["ReturnAuthorization"] == 1


async def test_a_replay_asks_stripe_nothing(shop: ServedShop) -> None:
    body = return_body(shop.pay())
    expect(await shop.post("/v1/returns", body, key="k1"), 201)
    shop.wire.down = True
    expect(await shop.post("/v1/returns", body, key="k1"), 201)
    refund = {"payment_intent": body["payment_intent"], "amount": 5}
    shop.wire.down = False
    first = await shop.post("/v1/refunds", refund, key="k2")
    shop.wire.down = True
    assert (await shop.post("/v1/refunds", refund, key="k2")).content == first.content


async def test_a_key_belongs_to_one_body_whatever_its_spaces_and_order(shop: ServedShop) -> None:
    where = await ready(shop)
    headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    first = await shop.client.post(f"{where}/refund", content='{"amount":100,"note":"x"}', headers=headers)
    again = await shop.client.post(f"{where}/refund", content='{ "note": "x", "amount": 100 }', headers=headers)
    assert expect(again, 202) == expect(first, 202)
    problem = expect(await shop.post(f"{where}/refund", {"amount": 200, "note": "x"}, key="k1"), 422)
    assert problem["code"] == "idempotency_key_reused"


async def test_a_key_belongs_to_one_path_and_one_api_key(shop: ServedShop) -> None:
    first, second = await shop.create_return(), await shop.create_return()
    why = {"reason": "x"}
    expect(await shop.post(f"/v1/returns/{first['id']}/decline", why, key="k1"), 200)
    expect(await shop.post(f"/v1/returns/{second['id']}/decline", why, key="k1"), 200)
    other = await shop.create_key("admin")
    answer = await shop.post(f"/v1/returns/{first['id']}/decline", why, key="k1", Authorization=f"Bearer {other}")
    expect(answer, 409, "invalid_transition")


async def test_a_refused_request_leaves_its_key_free(shop: ServedShop) -> None:
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/refund", key="k1"), 409, "invalid_transition")
    shop.context.policy = replace(shop.context.policy, refund_on="manual")
    expect(await shop.post(f"{where}/approve", {"override_reason": "x"}), 200)
    await shop.receive_parcel(made["id"])
    expect(await shop.post(f"{where}/refund", key="k1"), 202)


async def test_keys_are_printable_and_not_too_long(shop: ServedShop) -> None:
    where = await ready(shop)
    expect(await shop.post(f"{where}/refund", key="k" * 256), 422, "invalid_request")
    expect(await shop.post(f"{where}/refund", key="k" * 255), 202)


async def test_50_parallel_requests_with_one_key_are_one_refund_and_one_answer(shop: ServedShop) -> None:
    where = await ready(shop)
    answers = await asyncio.gather(*(shop.post(f"{where}/refund", key="k1") for _ in range(50)))
    assert Counter(a.status_code for a in answers) == {202: 50}
    assert len({a.content for a in answers}) == 1
    assert Counter(a.headers.get("idempotent-replayed") for a in answers) == {None: 1, "true": 49}
    await shop.settle()
    assert [r["amount"] for r in shop.ledger.refunds] == [10_000]


async def test_50_parallel_requests_with_50_keys_are_one_refund(shop: ServedShop) -> None:
    where = await ready(shop)
    answers = await asyncio.gather(*(shop.post(f"{where}/refund") for _ in range(50)))
    assert Counter(a.status_code for a in answers) == {202: 1, 409: 49}
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"refund_in_progress"}
    await shop.settle()
    assert [r["amount"] for r in shop.ledger.refunds] == [10_000]


async def test_parallel_standalone_refunds_never_exceed_the_payment(shop: ServedShop) -> None:
    body = {"payment_intent": shop.pay(10_000), "amount": 3000}
    answers = await asyncio.gather(*(shop.post("/v1/refunds", body) for _ in range(20)))
    assert Counter(a.status_code for a in answers) == {202: 3, 422: 17}
    await shop.settle()
    assert sum(r["amount"] for r in shop.ledger.refunds) == 9000


def test_a_key_is_asked_for_exactly_where_a_repeat_would_move_money_or_stock() -> None:
    needed = {operation.name for operation in OPERATIONS if operation.key_rule is not KEY_OPTIONAL}
    assert needed == {
        "create_receipt", "refund_return", "retry_return", "settle_return_outside", "create_refund", "retry_refund",
        "settle_refund_outside", "send_refund_again", "create_returns", "correct_receipt", "create_unmatched_receipt",
        "inspect_receipt",
    }  # fmt: skip


async def test_one_key_on_two_paths_is_two_keys(shop: ServedShop) -> None:
    first, second = [await shop.create_return() for _ in range(2)]
    for made in (first, second):
        answer = await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "x"}, key="the same")
        assert expect(answer, 200)["id"] == made["id"]
        assert "idempotent-replayed" not in answer.headers
