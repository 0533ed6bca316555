"""A6: a refund of the Stripe Dashboard is said to have paid: it is read at Stripe, matched, and counts once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, expect


def paid_by(reference: str, **more: Any) -> dict[str, Any]:
    return {"method": "dashboard_refund", "reference": reference, **more}


async def failed_return(shop: ServedShop) -> dict[str, Any]:
    """Return a return whose refund of 50.00 has failed, on a payment of 100.00."""
    payment = shop.pay(10_000, card="pm_card_refundFail")
    made = await shop.create_approved_return(5000, 1, payment=payment)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    shown = await shop.read_return(made["id"])
    assert shown["state"] == "failed"
    return shown


async def test_a6_a_dashboard_refund_is_assigned_and_counts_once(shop: ServedShop) -> None:
    """Its webhook has not come yet: it is found by the read."""
    made = await failed_return(shop)
    at_stripe = shop.dashboard.refund(made["payment_intent"], 5000)["id"]
    shop.lose_webhooks()
    where = f"/v1/returns/{made['id']}/settle_outside"
    done = expect(await shop.post(where, paid_by(at_stripe, note="By Ann.")), 200)
    assert (done["amount_refunded"], done["amount_settled_outside"], done["amount_due"]) == (5000, 0, 0)
    assert done["state"] == "refunded"
    failed, paid = (await shop.read_return(made["id"]))["refunds"]
    assert (paid["source"], paid["stripe_refund"], paid["supersedes"]) == ("external", at_stripe, failed["id"])
    assert (failed["superseded_by"], failed["amount_open"]) == (paid["id"], 0)
    assert [(row["kind"], row["amount"]) for row in paid["breakdown"]] == [("line", 5000)]
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []
    assert expect(await shop.get(f"/v1/payments/{made['payment']}"), 200)["refundable"] == 5000


async def test_a6_one_that_stripe_does_not_hold_settles_nothing(shop: ServedShop) -> None:
    made = await failed_return(shop)
    other = shop.dashboard.refund(shop.pay(9000), 5000)["id"]
    before = await shop.read_return(made["id"])
    for reference in ("re_nobody", other, "paid by a colleague"):
        answer = await shop.post(f"/v1/returns/{made['id']}/settle_outside", paid_by(reference))
        expect(answer, 422, "refund_missing")
    assert await shop.read_return(made["id"]) == before
    shop.wire.down = True
    answer = await shop.post(f"/v1/returns/{made['id']}/settle_outside", paid_by("re_nobody"))
    expect(answer, 503, "stripe_unavailable")


async def test_a6_one_that_counts_elsewhere_settles_nothing(shop: ServedShop) -> None:
    made = await failed_return(shop)
    where = f"/v1/returns/{made['id']}/settle_outside"
    at_stripe = shop.dashboard.refund(made["payment_intent"], 2000)["id"]
    await shop.deliver()
    found = expect(await shop.get("/v1/refunds?limit=1"), 200)["data"][0]
    other = await shop.create_approved_return(2000, 1, payment=made["payment_intent"])
    expect(await shop.post(f"/v1/refunds/{found['id']}/assign", {"return": other["id"]}), 200)
    claimed = expect(await shop.post(where, paid_by(at_stripe)), 409, "refund_claimed")
    assert (claimed["refund"], claimed["return"]) == (found["id"], other["id"])
    ours = made["refunds"][0]["stripe_refund"]
    expect(await shop.post(where, paid_by(ours)), 409, "refund_claimed")


async def test_a6_its_amount_decides(shop: ServedShop) -> None:
    """Less than is open leaves the rest failed; more than is open, or than is said, is refused."""
    made = await failed_return(shop)
    where = f"/v1/returns/{made['id']}/settle_outside"
    more, less = (shop.dashboard.refund(made["payment_intent"], amount)["id"] for amount in (6000, 2000))
    expect(await shop.post(where, paid_by(more)), 422, "amount_exceeds_due")
    expect(await shop.post(where, paid_by(less, amount=1999)), 422, "refund_amount_differs")
    part = expect(await shop.post(where, paid_by(less, amount=2000)), 200)
    assert (part["state"], part["amount_refunded"], part["amount_due"]) == ("failed", 2000, 3000)
    expect(await shop.post(where, paid_by(less)), 409, "refund_claimed")
    assert (await shop.read_return(made["id"]))["refunds"][0]["amount_open"] == 3000


async def test_a6_what_it_held_goes_on(shop: ServedShop) -> None:
    """It held the payment; once it is known what it paid, another return's refund is made."""
    payment = shop.pay(10_000)
    first = await shop.create_approved_return(4000, 1, payment=payment)
    second = await shop.create_approved_return(3000, 1, payment=payment)
    at_stripe = shop.dashboard.refund(payment, 4000)["id"]
    await shop.deliver()
    for made in (first, second):
        await shop.receive_parcel(made["id"])
    await shop.settle()
    assert (await shop.read_return(second["id"]))["refund_barred"]["code"] == "external_refund_open"
    done = expect(await shop.post(f"/v1/returns/{first['id']}/settle_outside", paid_by(at_stripe)), 200)
    assert (done["state"], done["amount_refunded"]) == ("refunded", 4000)
    await shop.settle()
    assert (await shop.read_return(second["id"]))["amount_refunded"] == 3000


async def test_a6_it_fails_at_its_bank_after_all(shop: ServedShop) -> None:
    made = await failed_return(shop)
    at_stripe = shop.dashboard.refund(made["payment_intent"], 5000)["id"]
    expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", paid_by(at_stripe)), 200)
    await shop.settle()  # every refund of this card fails
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["amount_due"], shown["refunds"][1]["amount_open"]) == ("failed", 5000, 5000)
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["refund"]) == ("refund_failed", shown["refunds"][1]["id"])


@pytest.mark.parametrize("amount", [3000, 4000])
async def test_a6_a_refund_of_no_return_is_settled_by_one_too(shop: ServedShop, amount: int) -> None:
    payment = shop.pay(10_000, card="pm_card_refundFail")
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 4000}), 202)
    await shop.settle()
    at_stripe = shop.dashboard.refund(payment, amount)["id"]
    where = f"/v1/refunds/{refund['id']}"
    paid = expect(await shop.post(f"{where}/settle_outside", paid_by(at_stripe)), 200)
    assert (paid["stripe_refund"], paid["supersedes"], paid["amount"]) == (at_stripe, refund["id"], amount)
    old = expect(await shop.get(where), 200)
    assert (old["amount_open"], old["superseded_by"]) == ((0, paid["id"]) if amount == 4000 else (1000, None))
    await shop.settle()  # it fails at its bank: it is on the desk as the one before was
    items = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (paid["id"], amount) in [(item["refund"], item["amount"]) for item in items]
    body = {"method": "cash", "reference": "till 2"}
    expect(await shop.post(f"/v1/refunds/{paid['id']}/settle_outside", body), 200)


@pytest.mark.parametrize("road", ["settled", "assigned"])
async def test_a6_what_people_gave_beside_it_is_not_overpaid(shop: ServedShop, road: str) -> None:
    """A goodwill of 10.00 was decided with a refund that failed; a colleague pays all of it in the Dashboard."""
    made = await failed_return(shop)
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/retry", {"amount": 6000, "override_reason": "It took long."}), 202)
    await shop.settle()
    at_stripe = shop.dashboard.refund(made["payment_intent"], 6000)["id"]
    await shop.deliver()
    if road == "settled":
        expect(await shop.post(f"{where}/settle_outside", paid_by(at_stripe)), 200)
    else:
        (external,) = [refund for refund in await shop.refunds() if refund.source == "external"]
        expect(await shop.post(f"/v1/refunds/{external.id}/assign", {"return": made["id"]}), 200)
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["amount_refunded"], shown["overpaid_amount"]) == ("refunded", 6000, 0)
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []


async def test_what_was_taken_off_is_not_overpaid_by_whoever_paid_the_rest_outside(shop: ServedShop) -> None:
    """A refund that gave a part up is paid in the Dashboard: no more is overpaid than has moved."""
    made = await shop.create_approved_return(9000, 3, payment=shop.pay(20_000))
    receipt = await shop.receive_parcel(made["id"])
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 200)
    less = {"amount": 1600, "waive": True, "reason": "A scratch."}
    expect(await shop.post(f"/v1/returns/{made['id']}/retry", less), 202)
    shop.dashboard.refund(made["payment_intent"], 10_000)
    await shop.deliver()
    (outside,) = [one for one in expect(await shop.get("/v1/refunds"), 200)["data"] if one["source"] == "external"]
    expect(await shop.post(f"/v1/refunds/{outside['id']}/assign", {"return": made["id"]}), 200)
    wrong = {"line": made["lines"][0]["id"], "from": "new", "to": "missing", "quantity": 1}
    body = {"lines": [wrong], "reason": "It was empty."}
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct", body), 200)
    expect(await shop.post(f"/v1/returns/{made['id']}/close", {"reason": "No more comes."}), 200)
    done = await shop.read_return(made["id"])
    assert (done["amount_refunded"], done["overpaid_amount"]) == (10_000, 10_000)


async def test_what_is_taken_off_in_one_refund_leaves_overpaid_what_another_paid(shop: ServedShop) -> None:
    """A colleague refunded too much in the Dashboard: a deduction beside it gives nothing of that back."""
    made = await shop.create_approved_return(9000, 3, payment=shop.pay(20_000))
    shop.dashboard.refund(made["payment_intent"], 10_000)
    await shop.deliver()
    (outside,) = [one for one in expect(await shop.get("/v1/refunds"), 200)["data"] if one["source"] == "external"]
    expect(await shop.post(f"/v1/refunds/{outside['id']}/assign", {"return": made["id"]}), 200)
    assert (await shop.read_return(made["id"]))["overpaid_amount"] == 1000
    taken_off = {"kind": "deduction", "amount": 4000, "description": "A stain."}
    body = {"amount": 50, "adjustments": [taken_off], "override_reason": "For the post."}
    expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 202)
    assert (await shop.read_return(made["id"]))["overpaid_amount"] == 1000
    assert [item["amount"] for item in expect(await shop.get("/v1/desk?kind=return_overpaid"), 200)["data"]] == [1000]


async def test_a_label_taken_off_what_people_give_is_not_overpaid_too(shop: ServedShop, with_policy: Any) -> None:
    """The Dashboard paid the units, then a person decides on more for shipping: the label is taken off that."""
    with_policy(label_cost={"usd": 700}, shipping_refunded="always", refund_on="manual")
    payment = shop.pay(20_000)
    made = await shop.create_approved_return(9000, 3, payment=payment, shipping_amount=1000)
    await shop.receive_parcel(made["id"], 3)
    shop.dashboard.refund(made["payment_intent"], 9000)
    await shop.deliver()
    (outside,) = [one for one in expect(await shop.get("/v1/refunds"), 200)["data"] if one["source"] == "external"]
    units = [{"line": made["lines"][0]["id"], "units": 3}]
    expect(await shop.post(f"/v1/refunds/{outside['id']}/assign", {"return": made["id"], "lines": units}), 200)
    more = {"kind": "shipping", "amount": 2000, "description": "By air."}
    body = {"adjustments": [more], "override_reason": "Agreed by phone."}
    expect(await shop.post(f"/v1/returns/{made['id']}/refund", body), 202)
    shown = await shop.read_return(made["id"])
    assert [row["amount"] for row in shown["refunds"][-1]["breakdown"]] == [-700, 2000]
    assert shown["overpaid_amount"] == 0
