"""B1: part of a failed refund is settled outside or tried again; the rest stays failed until somebody gives it up."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from returns_service.store.tables import Refund
from tests.harness.served_shop import ServedShop, expect

OUTSIDE = {"method": "store_credit", "reference": "credit 17"}


async def failed_return(shop: ServedShop, quantity: int = 1) -> tuple[str, str]:
    """Return a return whose refund of 100.00 has failed, and that refund."""
    made = await shop.create_approved_return(quantity=quantity, card="pm_card_refundFail")
    await shop.receive_parcel(made["id"], quantity)
    await shop.settle()
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    assert (refund["status"], refund["amount_open"]) == ("failed", 10_000)
    return made["id"], refund["id"]


async def read_refund(shop: ServedShop, refund_id: str) -> dict[str, Any]:
    return expect(await shop.get(f"/v1/refunds/{refund_id}"), 200)


def check_sums(shown: dict[str, Any], entitled: int = 10_000) -> None:
    """Paid, on its way, settled outside, waived and due come to what is owed."""
    parts = ("amount_refunded", "amount_open", "amount_settled_outside", "amount_waived", "amount_due")
    assert sum(shown[name] for name in parts) == entitled, {name: shown[name] for name in parts}


async def test_b1_a_part_is_settled_and_the_rest_stays_failed(shop: ServedShop) -> None:
    return_id, refund_id = await failed_return(shop)
    where = f"/v1/returns/{return_id}/settle_outside"
    part = expect(await shop.post(where, {**OUTSIDE, "amount": 5000}), 200)
    assert (part["state"], part["amount_settled_outside"], part["amount_due"]) == ("failed", 5000, 5000)
    check_sums(part)
    failed = await read_refund(shop, refund_id)
    assert (failed["amount_open"], failed["superseded_by"], failed["superseded_at"]) == (5000, None, None)
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["refund"], item["amount"]) == ("refund_failed", refund_id, 5000)
    assert "50.00 USD of 100.00 USD" in item["message"]
    assert item["actions"] == ["retry", "settle_outside"]
    expect(await shop.post(where, {**OUTSIDE, "amount": 5001}), 422, "amount_exceeds_due")
    done = expect(await shop.post(where, {**OUTSIDE, "amount": 5000}), 200)
    assert (done["state"], done["amount_settled_outside"], done["amount_due"]) == ("refunded", 10_000, 0)
    last = (await shop.read_return(return_id))["refunds"][-1]
    assert (await read_refund(shop, refund_id))["superseded_by"] == last["id"]
    assert last["supersedes"] == refund_id
    expect(await shop.post(where, OUTSIDE), 409, "invalid_transition")


async def test_b1_a_part_is_retried_and_the_rest_stays_failed(shop: ServedShop) -> None:
    return_id, refund_id = await failed_return(shop, 3)
    where = f"/v1/refunds/{refund_id}"
    part = expect(await shop.post(f"{where}/retry", {"amount": 4000}), 202)
    assert (part["amount"], part["supersedes"]) == (4000, refund_id)
    assert [(row["kind"], row["amount"]) for row in part["breakdown"]] == [("line", 4000)]
    check_sums(await shop.read_return(return_id))
    await shop.work()  # it fails again, by its own: two refunds wait, for 40.00 and 60.00
    await shop.settle()
    assert [(r["amount"], r["amount_open"]) for r in (await shop.read_return(return_id))["refunds"]] == [
        (10_000, 6000), (4000, 4000),
    ]  # fmt: skip
    expect(await shop.post(f"/v1/returns/{return_id}/retry"), 409, "which_refund")
    answer = await shop.post(f"{where}/retry", {"amount": 6001})
    assert expect(answer, 422, "override_required")["failed_amount"] == 6000
    for name in (refund_id, part["id"]):
        expect(await shop.post(f"/v1/refunds/{name}/settle_outside", OUTSIDE), 200)
    done = await shop.read_return(return_id)
    assert (done["state"], done["amount_settled_outside"]) == ("refunded", 10_000)
    assert sum(row["units"] for r in done["refunds"] if r["status"] == "settled_outside" for row in r["breakdown"]) == 3
    check_sums(done)


async def test_b1_a_part_that_fails_late_is_open_beside_the_rest(shop: ServedShop) -> None:
    """A bank gives back what was paid, then the part that was retried; both are paid once in the end."""
    made = await shop.create_approved_return(9000, 3)
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    for amount in (2000, None):
        last = (await shop.read_return(made["id"]))["refunds"][-1]
        shop.dashboard.fail(last["stripe_refund"])
        await shop.deliver()
        if amount:
            expect(await shop.post(f"/v1/returns/{made['id']}/retry", {"amount": amount}), 202)
            await shop.settle()
            assert (await shop.read_return(made["id"]))["amount_refunded"] == amount
    failed = (await shop.read_return(made["id"]))["refunds"]
    assert [(one["amount"], one["amount_open"]) for one in failed] == [(9000, 7000), (2000, 2000)]
    for one in failed:
        expect(await shop.post(f"/v1/refunds/{one['id']}/retry"), 202)
        await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"]) == ("refunded", 9000)
    check_sums(done, 9000)


@pytest.mark.parametrize("road", ["retry", "settle_outside"])
async def test_b1_the_rest_is_given_up_only_with_a_reason(shop: ServedShop, road: str) -> None:
    return_id, refund_id = await failed_return(shop)
    where = f"/v1/refunds/{refund_id}/{road}"
    body = {"amount": 4000, "waive": True} | (OUTSIDE if road == "settle_outside" else {})
    before = await shop.count_rows()
    expect(await shop.post(where, body), 422, "reason_required")
    assert await shop.count_rows() == before
    made = expect(await shop.post(where, {**body, "reason": "Agreed on the phone."}), 202 if road == "retry" else 200)
    assert [(row["kind"], row["amount"]) for row in made["breakdown"]] == [("line", 10_000), ("reduction", -6000)]
    assert made["breakdown"][1]["description"] == "Agreed on the phone."
    failed = await read_refund(shop, refund_id)
    assert (failed["amount_open"], failed["superseded_by"]) == (0, made["id"])
    shown = await shop.read_return(return_id)
    assert (shown["amount_waived"], shown["amount_due"]) == (6000, 0)
    check_sums(shown)


async def test_b1_what_is_due_is_given_up_in_part_with_a_reason(shop: ServedShop, with_policy: Any) -> None:
    with_policy(refund_on="manual")
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"], 1)
    body = {**OUTSIDE, "amount": 7000, "waive": True, "reason": "A scratch."}
    done = expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", body), 200)
    assert (done["state"], done["amount_settled_outside"], done["amount_waived"]) == ("refunded", 7000, 3000)


@pytest.mark.parametrize("road", ["retry", "settle_outside"])
async def test_b1_a_refund_of_no_return_is_paid_in_parts_too(shop: ServedShop, road: str) -> None:
    payment = shop.pay(4000, card="pm_card_refundFail")
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": payment}), 202)
    await shop.settle()
    where, body = f"/v1/refunds/{refund['id']}/{road}", OUTSIDE if road == "settle_outside" else {}
    part = expect(await shop.post(where, {**body, "amount": 1500}), 202 if road == "retry" else 200)
    assert (part["amount"], part["supersedes"]) == (1500, refund["id"])
    failed = await read_refund(shop, refund["id"])
    assert (failed["amount_open"], failed["superseded_at"]) == (2500, None)
    rest = expect(await shop.post(where, body), 202 if road == "retry" else 200)
    assert rest["amount"] == 2500
    assert (await read_refund(shop, refund["id"]))["superseded_by"] == rest["id"]
    expect(await shop.post(where, body), 409, "refund_superseded")


async def test_b1_no_part_pays_a_line_more_than_is_still_due(shop: ServedShop) -> None:
    """A correction made two units worth nothing after they were paid; then the bank sends the money back."""
    made = await shop.create_approved_return()
    receipt = await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    change = {"line": made["lines"][0]["id"], "from": "new", "to": "missing", "quantity": 2}
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct"
    expect(await shop.post(where, {"lines": [change], "reason": "Counted twice."}), 200)
    (paid,) = (await shop.read_return(made["id"]))["refunds"]
    shop.dashboard.fail(paid["stripe_refund"], "declined")
    await shop.deliver()
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["amount_due"], shown["refunds"][0]["amount_open"]) == ("failed", 3333, 3333)
    again = expect(await shop.post(f"/v1/refunds/{paid['id']}/retry"), 202)
    assert again["amount"] == 3333
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], done["amount_due"]) == ("refunded", 3333, 0)


async def test_b1_a_failure_of_which_nothing_is_due_any_more_asks_for_nothing(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    receipt = await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    change = {"line": made["lines"][0]["id"], "from": "new", "to": "wrong_item", "quantity": 3}
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct"
    expect(await shop.post(where, {"lines": [change], "reason": "Stones."}), 200)
    (paid,) = (await shop.read_return(made["id"]))["refunds"]
    shop.dashboard.fail(paid["stripe_refund"], "declined")
    await shop.deliver()
    (failed,) = (await shop.read_return(made["id"]))["refunds"]
    assert (failed["status"], failed["amount_open"], failed["superseded_at"] is None) == ("failed", 0, False)
    assert "refund_failed" not in [item["kind"] for item in expect(await shop.get("/v1/desk"), 200)["data"]]


async def test_b1_an_assigned_refund_of_the_dashboard_takes_a_failed_ones_place(shop: ServedShop) -> None:
    return_id, refund_id = await failed_return(shop)
    expect(await shop.post(f"/v1/returns/{return_id}/settle_outside", {**OUTSIDE, "amount": 4000}), 200)
    payment = (await shop.read_return(return_id))["payment_intent"]
    shop.dashboard.refund(payment, 2000, metadata={"return_id": return_id})
    await shop.deliver()
    shown = await shop.read_return(return_id)
    sources = [(r["source"], r["status"], r["amount"]) for r in shown["refunds"][2:]]
    assert sources == [("external", "succeeded", 2000), ("return", "queued", 4000)]
    assert (await read_refund(shop, refund_id))["amount_open"] == 0
    check_sums(shown)


async def test_b1_a_refund_that_turns_up_after_a_part_was_paid_is_a_second_one(shop: ServedShop) -> None:
    """Stripe made a refund after all that it had refused, and a part was settled meanwhile."""
    return_id, refund_id = await failed_return(shop)
    await shop.execute(update(Refund).where(col(Refund.id) == refund_id).values(stripe_refund=None))
    expect(await shop.post(f"/v1/refunds/{refund_id}/settle_outside", {**OUTSIDE, "amount": 4000}), 200)
    payment = (await shop.read_return(return_id))["payment_intent"]
    shop.dashboard.refund(payment, 10_000, metadata={"refund_id": refund_id})
    await shop.deliver()
    second = expect(await shop.get("/v1/refunds?limit=1"), 200)["data"][0]
    assert (second["source"], second["duplicate_of"], second["amount"]) == ("external", refund_id, 10_000)
    assert (await read_refund(shop, refund_id))["amount_open"] == 6000


@pytest.mark.parametrize("action", ["retry", "settle_outside"])
async def test_a_reason_is_kept_also_where_nothing_is_given_up(shop: ServedShop, action: str) -> None:
    """It was dropped without a word unless it gave something up, and then the override's was."""
    return_id, _ = await failed_return(shop)
    said = {"reason": "She asked for it."} | ({"override_reason": "Agreed."} if action == "retry" else OUTSIDE)
    expect(await shop.post(f"/v1/returns/{return_id}/{action}", said), 202 if action == "retry" else 200)
    told = expect(await shop.get(f"/v1/returns/{return_id}/events"), 200)["data"]
    (data,) = [event["data"] for event in told if event["data"].get("trigger") == action]
    assert (data["reason"], data.get("override_reason")) == ("She asked for it.", said.get("override_reason"))


async def test_a_reason_about_a_refund_of_no_return_is_its_note(shop: ServedShop) -> None:
    payment = shop.pay(card="pm_card_refundFail")
    failed = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 400}), 202)
    await shop.settle()
    where = f"/v1/refunds/{failed['id']}"
    first = {"amount": 100, "reason": "A part of it."}
    assert expect(await shop.post(f"{where}/retry", first), 202)["note"] == "A part of it."
    rest = {**OUTSIDE, "reason": "The rest in cash."}
    assert expect(await shop.post(f"{where}/settle_outside", rest), 200)["note"] == "The rest in cash."
