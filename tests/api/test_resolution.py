"""B2: the customer wants store credit or an exchange; Stripe is never asked for these units."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.worker.maintenance import retry_follow_up
from tests.harness.served_shop import ServedShop, expect, return_body
from tests.harness.shop import BY

EXCHANGE = {"method": "exchange", "reference": "order 4712"}
CREDIT = {"method": "store_credit", "reference": "credit 17"}


async def create(shop: ServedShop, *lines: tuple[str, int, str | None], **more: Any) -> dict[str, Any]:
    """Return an approved return with a line of one unit for each (sku, amount, resolution)."""
    body = [
        {"sku": sku, "quantity": 1, "total_amount": amount} | ({"resolution": wanted} if wanted else {})
        for sku, amount, wanted in lines
    ]
    payment = shop.pay(sum(amount for _, amount, _ in lines), more.pop("card", "pm_card_visa"))
    made = expect(await shop.post("/v1/returns", return_body(payment, lines=body, **more)), 201)
    return expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)


async def count_all(shop: ServedShop, made: dict[str, Any]) -> dict[str, Any]:
    """Count every unit of a return; return the return as it is once all is quiet."""
    lines = [{"line": line["id"], "quantity": line["quantity"], "condition": "new"} for line in made["lines"]]
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": lines}), 201)
    await shop.settle()
    return await shop.read_return(made["id"])


def amounts(shown: dict[str, Any]) -> tuple[str, int, int, int, int]:
    """Return a return's state, and what is due, due outside, refunded and settled outside."""
    names = ("amount_due", "amount_due_outside", "amount_refunded", "amount_settled_outside")
    due, outside, refunded, settled = (shown[name] for name in names)
    return shown["state"], due, outside, refunded, settled


async def test_b2_units_of_an_exchange_are_never_paid_through_stripe(shop: ServedShop) -> None:
    made = await create(shop, ("SHIRT", 10_000, None), resolution="exchange")
    assert (made["resolution"], made["lines"][0]["resolution"], made["amount_estimated"]) == ("exchange", "exchange", 0)
    shown = await count_all(shop, made)
    assert amounts(shown) == ("approved", 0, 10_000, 0, 0)
    assert len(shop.ledger.refunds) == 0
    assert "settle_outside" in shown["available_actions"]
    told = expect(await shop.get(f"/v1/returns/{made['id']}/events"), 200)["data"]
    (due,) = [event["data"] for event in told if event["type"] == "return.resolution_due"]
    assert (due["amount_due_outside"], due["object"]["amount_due_outside"]) == (10_000, 10_000)
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("resolution_due", 10_000, ["settle_outside"])
    assert "exchange" in item["message"]
    expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 422, "nothing_due")
    expect(await shop.post(f"/v1/returns/{made['id']}/close", {"reason": "Done."}), 409, "still_due")
    done = expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", EXCHANGE), 200)
    assert amounts(done) == ("refunded", 0, 0, 0, 10_000)
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []


async def test_b2_an_exchange_for_less_leaves_the_rest_due_as_refund(shop: ServedShop) -> None:
    made = await create(shop, ("SHIRT", 10_000, "exchange"))
    await count_all(shop, made)
    where = f"/v1/returns/{made['id']}/settle_outside"
    expect(await shop.post(where, {**EXCHANGE, "amount": 10_001}), 422, "amount_exceeds_due")
    shown = expect(await shop.post(where, {**EXCHANGE, "amount": 7000}), 200)
    assert (shown["state"], shown["amount_due_outside"], shown["amount_open"]) == ("refunding", 0, 3000)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert amounts(done) == ("refunded", 0, 0, 3000, 7000)
    assert [(row["kind"], row["amount"]) for row in done["refunds"][-1]["breakdown"]] == [("exchange_difference", 3000)]
    assert done["lines"][0]["refunded_amount"] == 3000


async def test_b2_store_credit_for_less_leaves_the_rest_due_outside(shop: ServedShop) -> None:
    made = await create(shop, ("SHIRT", 10_000, "store_credit"))
    await count_all(shop, made)
    where = f"/v1/returns/{made['id']}/settle_outside"
    assert amounts(expect(await shop.post(where, {**CREDIT, "amount": 4000}), 200)) == ("approved", 0, 6000, 0, 4000)
    waived = {**CREDIT, "amount": 5000, "waive": True, "reason": "A stain."}
    done = expect(await shop.post(where, waived), 200)
    assert amounts(done) == ("refunded", 0, 0, 0, 9000)
    assert done["amount_waived"] == 1000


async def test_b2_one_line_is_refunded_and_the_other_exchanged(shop: ServedShop) -> None:
    """While the refund waits at its bank, what is due outside can be settled: that alone."""
    made = await create(
        shop, ("SHIRT", 4000, None), ("HAT", 6000, "exchange"), card="pm_card_pendingRefund"
    )  # fmt: skip
    lines = [{"line": line["id"], "quantity": 1, "condition": "new"} for line in made["lines"]]
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/receipts", {"lines": lines}), 201)
    await shop.work()
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["amount_open"], shown["amount_due_outside"]) == ("refunding", 4000, 6000)
    preview = expect(await shop.get(f"{where}/refund_preview"), 200)
    assert (preview["amount"], preview["barred"]["code"]) == (0, "nothing_due")
    expect(await shop.post(f"{where}/settle_outside", {**EXCHANGE, "amount": 6001}), 422, "amount_exceeds_due")
    half = expect(await shop.post(f"{where}/settle_outside", EXCHANGE), 200)
    assert (half["state"], half["amount_due_outside"], half["amount_settled_outside"]) == ("refunding", 0, 6000)
    expect(await shop.post(f"{where}/settle_outside", EXCHANGE), 409, "refund_in_progress")
    assert "on its way" in half["barred_actions"]["settle_outside"]
    shop.advance(5)
    await shop.settle()
    assert amounts(await shop.read_return(made["id"])) == ("refunded", 0, 0, 4000, 6000)


async def test_b2_the_customer_may_change_their_mind_until_the_units_are_paid(shop: ServedShop) -> None:
    """What is queued is withdrawn and never sent; back again, it is refunded after all."""
    made = await create(shop, ("SHIRT", 10_000, None))
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"])
    (queued,) = (await shop.read_return(made["id"]))["refunds"]
    shown = expect(await shop.post(f"{where}/resolution", {"resolution": "store_credit"}), 200)
    assert amounts(shown) == ("approved", 0, 10_000, 0, 0)
    (withdrawn,) = (await shop.read_return(made["id"]))["refunds"]
    assert (withdrawn["id"], withdrawn["status"], withdrawn["amount_open"]) == (queued["id"], "withdrawn", 0)
    version = shown["version"]
    assert expect(await shop.post(f"{where}/resolution", {"resolution": "store_credit"}), 200)["version"] == version
    await shop.settle()
    assert len(shop.ledger.refunds) == 0
    back = expect(await shop.post(f"{where}/resolution", {"resolution": "refund"}), 200)
    assert (back["state"], back["amount_due_outside"]) == ("refunding", 0)
    await shop.settle()
    assert amounts(await shop.read_return(made["id"])) == ("refunded", 0, 0, 10_000, 0)
    answer = await shop.post(f"{where}/resolution", {"resolution": "exchange"})
    expect(answer, 409, "already_refunded")
    assert "resolution" in (await shop.read_return(made["id"]))["barred_actions"]


async def test_what_a_person_decided_about_the_units_bars_a_change_of_mind(shop: ServedShop, with_policy: Any) -> None:
    """Until it has paid, or is dealt with: the return says so before anybody asks."""
    with_policy(refund_on="manual")
    made = await create(shop, ("SHIRT", 10_000, None))
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"])
    less = {"kind": "deduction", "amount": 500, "description": "A button is gone."}
    queued = expect(await shop.post(f"{where}/refund", {"adjustments": [less]}), 202)
    for code in ("refund_in_progress", "failed_refund_open"):
        shown = await shop.read_return(made["id"])
        assert "decided" in shown["barred_actions"]["resolution"]
        expect(await shop.post(f"{where}/resolution", {"resolution": "exchange"}), 409, code)
        await shop.post(f"/v1/refunds/{queued['id']}/cancel")


@pytest.mark.parametrize("named", ["id", "object"])
async def test_b2_one_lines_resolution(shop: ServedShop, named: str) -> None:
    made = await create(shop, ("SHIRT", 4000, None), ("HAT", 6000, None))
    hat = made["lines"][1]["id"]
    lines: list[Any] = [hat if named == "id" else {"line": hat}]
    where = f"/v1/returns/{made['id']}/resolution"
    shown = expect(await shop.post(where, {"resolution": "exchange", "lines": lines}), 200)
    assert [line["resolution"] for line in shown["lines"]] == ["refund", "exchange"]
    assert (shown["resolution"], shown["amount_estimated"]) == ("refund", 4000)
    assert amounts(await count_all(shop, made)) == ("approved", 0, 6000, 4000, 0)
    shirt = {"resolution": "exchange", "lines": [made["lines"][0]["id"]]}
    expect(await shop.post(where, shirt), 409, "already_refunded")
    expect(await shop.post(where, {"resolution": "exchange", "lines": ["rli_none"]}), 422, "unknown_line")
    expect(await shop.post(where, {"resolution": "voucher"}), 422, "invalid_request")
    none = expect(await shop.post(where, {"resolution": "exchange", "lines": []}), 422, "invalid_request")
    assert none["param"] == "lines", "no line chosen is not all of them"


async def test_b2_a_refund_in_flight_bars_a_change_of_its_units(shop: ServedShop) -> None:
    """Units that are still to come are another matter: what the customer wants for them may change."""
    made = await shop.create_approved_return(9000, 3, card="pm_card_pendingRefund")
    where = f"/v1/returns/{made['id']}/resolution"
    await shop.receive_parcel(made["id"], 1)
    await shop.work()
    shown = expect(await shop.post(where, {"resolution": "exchange"}), 200)
    assert (shown["state"], shown["amount_open"]) == ("refunding", 3000)
    expect(await shop.post(where, {"resolution": "refund"}), 200)
    await shop.receive_parcel(made["id"], 2)
    await shop.work()
    assert (await shop.read_return(made["id"]))["amount_open"] == 9000
    before = await shop.read_return(made["id"])
    assert expect(await shop.post(where, {"resolution": "exchange"}), 409, "refund_in_progress")["refunds"]
    assert (await shop.read_return(made["id"])) == before


async def test_b2_a_failed_refund_is_superseded_by_a_change(shop: ServedShop) -> None:
    made = await create(shop, ("SHIRT", 10_000, None), card="pm_card_refundFail")
    assert (await count_all(shop, made))["state"] == "failed"
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/settle_outside", {**CREDIT, "amount": 4000}), 200)
    shown = expect(await shop.post(f"{where}/resolution", {"resolution": "exchange"}), 200)
    assert amounts(shown) == ("approved", 0, 6000, 0, 4000)
    assert amounts(expect(await shop.post(f"{where}/settle_outside", EXCHANGE), 200)) == ("refunded", 0, 0, 0, 10_000)


async def test_b2_what_failed_late_stays_a_refund(shop: ServedShop) -> None:
    """One unit was refunded, the rest is exchanged; then the bank sends the first one's money back."""
    made = await shop.create_approved_return(9000, 3)
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    expect(await shop.post(f"{where}/resolution", {"resolution": "exchange"}), 200)
    await shop.receive_parcel(made["id"], 2)
    (paid,) = (await shop.read_return(made["id"]))["refunds"]
    shop.dashboard.fail(paid["stripe_refund"], "declined")
    await shop.deliver()
    shown = await shop.read_return(made["id"])
    assert amounts(shown) == ("failed", 3000, 6000, 0, 0)
    kinds = sorted((item["kind"], item["amount"]) for item in expect(await shop.get("/v1/desk"), 200)["data"])
    assert kinds == [("refund_failed", 3000), ("resolution_due", 6000)]
    half = expect(await shop.post(f"{where}/settle_outside", EXCHANGE), 200)
    assert amounts(half) == ("failed", 3000, 0, 0, 6000)
    expect(await shop.post(f"{where}/retry"), 202)
    await shop.settle()
    assert amounts(await shop.read_return(made["id"])) == ("refunded", 0, 0, 3000, 6000)


async def test_b2_each_method_pays_its_own_units_first(shop: ServedShop) -> None:
    made = await create(shop, ("SHIRT", 4000, "exchange"), ("HAT", 6000, "store_credit"))
    await count_all(shop, made)
    where = f"/v1/returns/{made['id']}/settle_outside"
    expect(await shop.post(where, {**CREDIT, "amount": 6000}), 200)
    (credit,) = (await shop.read_return(made["id"]))["refunds"]
    assert [(row["line"], row["amount"]) for row in credit["breakdown"]] == [(made["lines"][1]["id"], 6000)]
    assert amounts(expect(await shop.post(where, EXCHANGE), 200)) == ("refunded", 0, 0, 0, 10_000)


async def test_b2_an_ended_return_has_nothing_to_resolve(shop: ServedShop) -> None:
    made = await create(shop, ("SHIRT", 4000, None))
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/cancel", {"reason": "Kept."}), 200)
    expect(await shop.post(f"{where}/resolution", {"resolution": "exchange"}), 409, "invalid_transition")


async def test_b2_an_exchange_needs_nothing_of_its_payment(shop: ServedShop) -> None:
    """All of the payment is refunded already: an exchange can be approved, a refund can't."""
    payment = shop.pay(4000)
    expect(await shop.post("/v1/refunds", {"payment_intent": payment}), 202)
    await shop.settle()
    made = expect(await shop.post("/v1/returns", return_body(payment, 4000, 1)), 201)
    where = f"/v1/returns/{made['id']}"
    approval = {"override_reason": "A test."}
    expect(await shop.post(f"{where}/approve", approval), 422, "amount_exceeds_refundable")
    expect(await shop.post(f"{where}/resolution", {"resolution": "exchange"}), 200)
    expect(await shop.post(f"{where}/approve", approval), 200)


async def test_what_a_change_withdraws_is_at_once_there_for_another_return(shop: ServedShop) -> None:
    """The other one's refund was barred for want of it; it is tried again within a second, not within the hour."""
    payment, made = shop.pay(10_000), []
    for _ in range(2):
        made.append(expect(await shop.post("/v1/returns", return_body(payment, 5000, 1)), 201)["id"])
        expect(await shop.post(f"/v1/returns/{made[-1]}/approve", {"override_reason": "A test."}), 200)
    await shop.receive_parcel(made[0], 1)
    expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 2000}), 202)
    await shop.receive_parcel(made[1], 1)
    assert (await shop.read_return(made[1]))["refund_barred"]["code"] == "amount_exceeds_refundable"
    expect(await shop.post(f"/v1/returns/{made[0]}/resolution", {"resolution": "exchange"}), 200)
    assert await retry_follow_up(shop.db, BY, shop.policy)
    await shop.settle()
    shown = await shop.read_return(made[1])
    assert (shown["state"], shown["amount_refunded"], shown["refund_barred"]) == ("refunded", 5000, None)


@pytest.mark.parametrize("line, param", [
    ("", "lines[0].line"), (7, "lines[0]"), ({}, "lines[0].line"), ({"line": 7}, "lines[0].line"),
    ({"line": "rli_1", "colour": "red"}, "lines[0].colour"),
])  # fmt: skip
async def test_a_wrong_line_is_one_error_under_the_name_that_was_sent(shop: ServedShop, line: Any, param: str) -> None:
    """It was told twice, as `lines[0].constrained-str` and `lines[0].ResolvedLine`."""
    made = await shop.create_return()
    body = {"resolution": "exchange", "lines": [line]}
    problem = expect(await shop.post(f"/v1/returns/{made['id']}/resolution", body), 422, "invalid_request")
    assert [error["param"] for error in problem["errors"]] == [param]


async def test_a_line_is_named_by_its_id_or_in_a_field(shop: ServedShop) -> None:
    made = await create(shop, ("SHIRT", 4000, None), ("HAT", 6000, None))
    first, second = (line["id"] for line in made["lines"])
    body = {"resolution": "exchange", "lines": [first, {"line": second}]}
    shown = expect(await shop.post(f"/v1/returns/{made['id']}/resolution", body), 200)
    assert [line["resolution"] for line in shown["lines"]] == ["exchange", "exchange"]
