"""What waits, and why: holds, doubts and what is due are told by the return, on the desk and in the history."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.domain.policy import DEFAULT
from returns_service.return_case.events import Actor
from returns_service.stripe_simulator import signature_of
from returns_service.stripe_simulator.collection import Collection
from returns_service.worker import maintenance
from tests.api.test_paid_otherwise import DAY, HOUR, external_of, kinds, pass_time
from tests.api.test_partial_captures import reread
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import SECRET

WHY = {"override_reason": "The parcel was late."}


async def on_desk(shop: ServedShop) -> list[tuple[str, str, list[str]]]:
    items = expect(await shop.get("/v1/desk"), 200)["data"]
    return [(item["kind"], item["code"], item["actions"]) for item in items]


async def events_of(shop: ServedShop, return_id: str) -> list[dict[str, Any]]:
    return list(expect(await shop.get(f"/v1/returns/{return_id}/events?limit=100"), 200)["data"])


async def hear(shop: ServedShop, kind: str) -> None:
    """Let Stripe's webhooks of one type arrive, and all others get lost."""
    for webhook in shop.ledger.due_webhooks():
        body = shop.ledger.body_of(webhook)
        if f'"{kind}"'.encode() in body:
            await shop.receive_webhook(body, signature_of(body, SECRET, shop.clock.unix()))
    shop.lose_webhooks()


# --- what a manual policy leaves to people ------------------------------------------------------------------------


@pytest.mark.parametrize("road", ["settled outside", "made in the Dashboard"])
async def test_the_rest_of_what_is_due_stays_on_the_desk(shop: ServedShop, with_policy: Any, road: str) -> None:
    """Two of three units came, and a part of what is due for them was paid: nobody pays the rest by itself."""
    with_policy(refund_on="manual")
    made = await shop.create_approved_return(9000, 3, payment=shop.pay(9000))
    await shop.receive_parcel(made["id"], 2)
    shop.advance(60)
    where = f"/v1/returns/{made['id']}"
    if road == "settled outside":
        part = {"method": "bank_transfer", "reference": "T 1", "amount": 2000}
        expect(await shop.post(f"{where}/settle_outside", part), 200)
    else:
        shop.dashboard.refund(made["payment_intent"], 2000)
        await shop.deliver()
        expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/assign", {"return": made["id"]}), 200)
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["amount_due"]) == ("approved", 4000)
    assert await on_desk(shop) == [("return_to_decide", "refund_on_manual", ["refund", "settle_outside"])]
    expect(await shop.post(f"{where}/refund", {}), 202)
    await shop.settle()
    shown = await shop.read_return(made["id"])
    assert (shown["amount_due"], await kinds(shop)) == (0, [])


# --- a payment that Stripe does not know --------------------------------------------------------------------------


def forget_payments(shop: ServedShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Stripe know no payment any more, as with the key of another account."""
    for kind, name in (("payment_intent", "payment_intents"), ("charge", "charges")):
        monkeypatch.setattr(shop.ledger, name, Collection(kind))


@pytest.mark.parametrize("heard_by", ["the call", "a look-up"])
async def test_a_payment_that_stripe_does_not_know_ends_what_is_not_in_doubt(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch, heard_by: str
) -> None:
    made = await shop.create_approved_return(5000, 1, payment=shop.pay(10_000))
    await shop.receive_parcel(made["id"])
    if heard_by == "a look-up":  # it was never taken in, for as long as a key lives
        shop.faults.arm("429_rate_limit", count=1, method="POST", path="/v1/refunds")
        await shop.work()
        shop.advance(DAY)
    with monkeypatch.context() as patch:
        forget_payments(shop, patch)
        await shop.work()
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["failure"]["code"]) == ("failed", "resource_missing")
    assert "account and mode" in shown["failure"]["advice"]
    assert await on_desk(shop) == [("refund_failed", "resource_missing", ["retry", "settle_outside"])]


async def test_a_payment_that_stripe_does_not_know_keeps_what_is_in_doubt_waiting(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its money may have moved on the account whose key was there before."""
    made = await shop.create_approved_return(5000, 1, payment=shop.pay(10_000))
    await shop.receive_parcel(made["id"])
    shop.faults.arm("drop_after", count=1, method="POST", path="/v1/refunds")
    await shop.work()
    shop.lose_webhooks()
    with monkeypatch.context() as patch:
        forget_payments(shop, patch)
        shop.advance(HOUR)
        await shop.work()
    (waits,) = (await shop.read_return(made["id"]))["refunds_waiting"]
    assert (waits["status"], waits["code"]) == ("unknown", "payment_missing")
    assert await kinds(shop) == ["refund_unknown"]
    await pass_time(shop, HOUR)
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 5000


# --- a hold until a read ------------------------------------------------------------------------------------------


async def hinted_at(shop: ServedShop) -> tuple[dict[str, Any], str]:
    """Return a return with a refund decided by override, and its payment: a sum tells of a refund made outside."""
    payment = shop.pay(20_000)
    made = await shop.create_approved_return(5000, 1, payment=payment)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    extra = {"kind": "goodwill", "amount": 2000, "description": "Sorry."}
    expect(await shop.post(f"/v1/returns/{made['id']}/refund", {"adjustments": [extra], **WHY}), 202)
    shop.dashboard.refund(payment, 2000)
    await hear(shop, "charge.refunded")
    return made, payment


async def test_no_override_is_sent_before_the_payment_is_read(shop: ServedShop) -> None:
    made, payment = await hinted_at(shop)
    await shop.work()
    assert shop.at_stripe(payment) == 7000
    (waits,) = (await shop.read_return(made["id"]))["refunds_waiting"]
    assert (waits["status"], waits["code"]) == ("queued", "payment_unread")
    assert await on_desk(shop) == [("refund_held", "payment_unread", ["cancel"])]
    await reread(shop)
    await shop.work()
    (waits,) = (await shop.read_return(made["id"]))["refunds_waiting"]
    assert (waits["code"], shop.at_stripe(payment)) == ("external_refund_open", 7000), "of that one nobody knew"
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/acknowledge", {"reason": "For tea."}), 200)
    await shop.settle()
    assert (shop.at_stripe(payment), await kinds(shop)) == (9000, [])


@pytest.mark.parametrize("road", ["decided", "due"])
async def test_a_hold_until_a_read_that_stripe_has_nothing_for_says_so(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch, road: str
) -> None:
    """The key is another account's by now: nothing is read by itself before somebody sets the right one."""
    if road == "decided":
        _, payment = await hinted_at(shop)
    else:
        payment = shop.pay(20_000)
        made = await shop.create_approved_return(5000, 1, payment=payment)
        shop.dashboard.refund(payment, 2000)
        await hear(shop, "charge.refunded")
        await shop.receive_parcel(made["id"])
    with monkeypatch.context() as patch:
        forget_payments(shop, patch)
        await reread(shop)
    kind, actions = ("refund_held", ["cancel"]) if road == "decided" else ("refund_barred", ["settle_outside"])
    assert await on_desk(shop) == [(kind, "payment_missing", actions)]
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert "STRIPE_SECRET_KEY" in item["advice"]
    shop.advance(HOUR)
    await reread(shop)
    assert sorted(await kinds(shop)) == ["external_refund", kind]
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/acknowledge", {"reason": "For tea."}), 200)
    await shop.settle()
    assert (await kinds(shop), shop.at_stripe(payment)) == ([], 9000 if road == "decided" else 7000)


async def test_no_other_news_ends_a_hold_until_a_read(shop: ServedShop) -> None:
    made, payment = await hinted_at(shop)
    first = (await shop.read_return(made["id"]))["refunds"][0]
    shop.dashboard.fail(first["stripe_refund"])
    await hear(shop, "refund.failed")
    await shop.work()
    assert shop.at_stripe(payment) == 2000
    statuses = sorted(refund["status"] for refund in (await shop.read_return(made["id"]))["refunds"])
    assert statuses == ["failed", "queued"]


async def test_a_read_that_began_before_the_news_ends_no_hold(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker reads the payment, Stripe answers slowly, and its sum arrives meanwhile."""
    payment = shop.pay(20_000)
    made = await shop.create_approved_return(5000, 1, payment=payment)
    read = shop.gateway.read_payment

    async def read_slowly(**names: Any) -> Any:
        seen = await read(**names)
        monkeypatch.undo()
        shop.dashboard.refund(payment, 5000)
        await hear(shop, "charge.refunded")
        return seen

    monkeypatch.setattr(shop.gateway, "read_payment", read_slowly)
    shop.advance(HOUR)
    assert await maintenance.reread_payment(shop.db, shop.gateway, Actor("worker"), DEFAULT)
    await shop.receive_parcel(made["id"])
    shown = await shop.read_return(made["id"])
    assert (shown["refund_barred"]["code"], shown["refunds"]) == ("external_refund_open", [])
    assert [item[:2] for item in await on_desk(shop)] == [("refund_barred", "payment_unread")]
    await reread(shop)
    await shop.work()
    assert (shop.at_stripe(payment), await kinds(shop)) == (5000, ["external_refund", "refund_barred"])


# --- a refund of no return in doubt -------------------------------------------------------------------------------


async def standalone_in_doubt(shop: ServedShop) -> tuple[str, str]:
    """Return a payment and a refund of no return, in doubt; a colleague has refunded in the Dashboard instead."""
    payment = shop.pay(20_000)
    asked = {"payment_intent": payment, "amount": 5000}
    refund = expect(await shop.post("/v1/refunds", asked), 202)
    shop.faults.arm("drop_before", count=1, method="POST", path="/v1/refunds")
    await shop.work()
    shop.dashboard.refund(payment, 5000)
    await shop.deliver()
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/acknowledge", {"reason": "It hung."}), 200)
    return payment, refund["id"]


async def test_what_was_acknowledged_beside_a_refund_in_doubt_may_have_paid_it(shop: ServedShop) -> None:
    payment, refund = await standalone_in_doubt(shop)
    shown = expect(await shop.get(f"/v1/refunds/{refund}"), 200)
    assert (shown["status"], shown["waiting_code"]) == ("unknown", "paid_beside")
    await pass_time(shop, 2 * HOUR)
    assert await on_desk(shop) == [("refund_unknown", "paid_beside", ["check", "send_again"])]
    await pass_time(shop, DAY)
    shown = expect(await shop.get(f"/v1/refunds/{refund}"), 200)
    assert (shop.at_stripe(payment), shown["status"]) == (5000, "withdrawn")
    assert await on_desk(shop) == [("refund_failed", "paid_beside", ["retry", "settle_outside"])]
    said = {"method": "waived", "reference": "Paid in the Dashboard."}
    expect(await shop.post(f"/v1/refunds/{refund}/settle_outside", said), 200)
    assert await kinds(shop) == []


async def test_a_person_may_send_a_refund_again_beside_what_was_acknowledged(shop: ServedShop) -> None:
    payment, refund = await standalone_in_doubt(shop)
    await pass_time(shop, 2 * HOUR)
    expect(await shop.post(f"/v1/refunds/{refund}/send_again", {"reason": "That one was for tea."}), 202)
    await pass_time(shop, HOUR)
    assert (shop.at_stripe(payment), await kinds(shop)) == (10_000, [])


async def test_what_was_held_for_days_and_never_sent_goes_out_with_the_word(shop: ServedShop) -> None:
    """Nothing of it is in doubt, however long it was held: what was acknowledged beside it paid something else."""
    payment = shop.pay(20_000)
    refund = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 5000}), 202)
    shop.dashboard.refund(payment, 5000)
    await shop.deliver()
    await pass_time(shop, 2 * DAY)
    assert shop.at_stripe(payment) == 5000
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/acknowledge", {"reason": "For tea."}), 200)
    await pass_time(shop, HOUR)
    shown = expect(await shop.get(f"/v1/refunds/{refund['id']}"), 200)
    assert (shop.at_stripe(payment), shown["status"], await kinds(shop)) == (10_000, "succeeded", [])


# --- shipping of an order -----------------------------------------------------------------------------------------


async def order_of_two(shop: ServedShop) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two returns of one order of 3 units, 90.00 and 10.00 for shipping: of one unit, and of two."""
    common: dict[str, Any] = {"payment": shop.pay(20_000), "shipping_amount": 1000}
    first = await shop.create_approved_return(3000, 1, **common)
    return first, await shop.create_approved_return(6000, 2, **common)


async def test_what_another_return_of_the_order_makes_due_is_told(shop: ServedShop, with_policy: Any) -> None:
    """Both counted; the shipping that is due with the first one is decided with the second one."""
    with_policy(refund_on="manual", shipping_refunded="always")
    first, second = await order_of_two(shop)
    await shop.receive_parcel(first["id"], 1)
    before = await shop.read_return(first["id"])
    await shop.receive_parcel(second["id"], 1)
    told = [event for event in await events_of(shop, first["id"]) if event["data"].get("trigger") == "follow_order"]
    assert before["amount_due"] == 4000
    assert told == []
    extra = {"kind": "shipping", "amount": 1000, "description": "Shipping"}
    expect(await shop.post(f"/v1/returns/{second['id']}/refund", {"adjustments": [extra], **WHY}), 202)
    shown = await shop.read_return(first["id"])
    told = [event for event in await events_of(shop, first["id"]) if event["data"].get("trigger") == "follow_order"]
    assert (shown["amount_due"], shown["version"]) == (3000, before["version"] + 1)
    assert [event["data"]["object"]["amount_due"] for event in told] == [3000]
    (unsent,) = (await shop.read_return(second["id"]))["refunds"]
    expect(await shop.post(f"/v1/refunds/{unsent['id']}/cancel", {}), 200)
    given_up = {"method": "waived", "reference": "The customer's word.", "refund": unsent["id"]}
    expect(await shop.post(f"/v1/returns/{second['id']}/settle_outside", given_up), 200)
    newest = max(await events_of(shop, first["id"]), key=lambda event: int(event["sequence"]))
    assert newest["data"]["object"]["amount_due"] == (await shop.read_return(first["id"]))["amount_due"]


@pytest.mark.parametrize("refund_on", ["approval", "receipt"])
async def test_shipping_that_an_override_pays_again_is_told(shop: ServedShop, with_policy: Any, refund_on: str) -> None:
    with_policy(refund_on=refund_on, shipping_refunded="always")
    first, second = await order_of_two(shop)
    await shop.receive_parcel(first["id"], 1)
    await shop.receive_parcel(second["id"], 2)
    await shop.settle()
    extra = {"kind": "shipping", "amount": 1000, "description": "Shipping again"}
    expect(await shop.post(f"/v1/returns/{second['id']}/refund", {"adjustments": [extra], **WHY}), 202)
    told = [(await shop.read_return(made["id"]))["overpaid_amount"] for made in (first, second)]
    assert (told, await kinds(shop)) == ([1000, 0], ["return_overpaid"])
    newest = max(await events_of(shop, first["id"]), key=lambda event: event["sequence"])
    assert newest["data"]["object"]["overpaid_amount"] == 1000
    refunds = (await shop.read_return(second["id"]))["refunds"]
    unsent = next(one for one in refunds if one["status"] == "queued")
    expect(await shop.post(f"/v1/refunds/{unsent['id']}/cancel", {}), 200)
    assert "return_overpaid" in await kinds(shop), "it is still to be paid again"
