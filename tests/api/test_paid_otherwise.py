"""What another refund has paid meanwhile, or what is due no more, isn't sent, whoever decided it."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.stripe_simulator import signature_of
from tests.api.test_partial_captures import reread
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import SECRET

HOUR, DAY = 3600, 86_400


async def kinds(shop: ServedShop) -> list[str]:
    return [item["kind"] for item in expect(await shop.get("/v1/desk"), 200)["data"]]


async def external_of(shop: ServedShop) -> str:
    found = expect(await shop.get("/v1/refunds"), 200)["data"]
    return next(str(refund["id"]) for refund in found if refund["source"] == "external")


async def refund_in_doubt(shop: ServedShop, amount: int = 5000, fault: str = "drop_before") -> dict[str, Any]:
    """Return a return whose refund was sent, and by that fault never reached Stripe or did; nobody here knows."""
    made = await shop.create_approved_return(amount, 1, payment=shop.pay(10_000))
    await shop.receive_parcel(made["id"])
    shop.faults.arm(fault, count=1, method="POST", path="/v1/refunds")
    await shop.work()
    assert [refund["status"] for refund in (await shop.read_return(made["id"]))["refunds"]] == ["unknown"]
    return made


async def pass_time(shop: ServedShop, seconds: int) -> None:
    """Let time pass, with a worker that looks once an hour."""
    for _ in range(seconds // HOUR):
        shop.advance(HOUR)
        await shop.settle()


@pytest.mark.parametrize("road", ["return", "payment"])
async def test_an_override_covers_no_refund_that_is_made_outside_later(shop: ServedShop, road: str) -> None:
    payment = shop.pay(10_000)
    made = await shop.create_approved_return(5000, 1, payment=payment)
    await shop.receive_parcel(made["id"])
    await shop.settle()
    why = {"override_reason": "The parcel was late."}
    if road == "return":
        extra = {"kind": "goodwill", "amount": 2000, "description": "Sorry."}
        expect(await shop.post(f"/v1/returns/{made['id']}/refund", {"adjustments": [extra], **why}), 202)
    else:
        expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 2000, **why}), 202)
    shop.dashboard.refund(payment, 2000)
    await shop.deliver()
    await shop.settle()
    assert (shop.at_stripe(payment), await kinds(shop)) == (7000, ["external_refund", "refund_held"])
    said = {"reason": "That one was for tea."}
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/acknowledge", said), 200)
    await shop.settle()
    assert (shop.at_stripe(payment), await kinds(shop)) == (9000, [])


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("word", ["assign", "acknowledge"])
async def test_a_refund_in_doubt_is_not_sent_again_beside_one_made_outside(
    shop: ServedShop, word: str, told: bool
) -> None:
    """A colleague sees it hang, and refunds in the Dashboard; of that a webhook tells, or only our own look-up."""
    made = await refund_in_doubt(shop)
    payment = made["payment_intent"]
    shop.dashboard.refund(payment, 5000)
    await (shop.deliver() if told else shop.work())
    shop.lose_webhooks()
    await pass_time(shop, 2 * HOUR)
    assert shop.at_stripe(payment) == 5000
    assert "external_refund" in await kinds(shop)
    outside = f"/v1/refunds/{await external_of(shop)}"
    if word == "acknowledge":
        expect(await shop.post(f"{outside}/acknowledge", {"reason": "That one was for tea."}), 200)
        await pass_time(shop, 2 * HOUR)
        done = await shop.read_return(made["id"])
        assert (done["state"], done["amount_refunded"], shop.at_stripe(payment)) == ("refunded", 5000, 10_000)
        return
    expect(await shop.post(f"{outside}/assign", {"return": made["id"]}), 200)
    (waits,) = (await shop.read_return(made["id"]))["refunds_waiting"]
    assert waits["code"] == "due_no_more"
    again = f"/v1/refunds/{waits['refund']}/send_again"
    expect(await shop.post(again, {"reason": "It never arrived."}), 409, "already_refunded")
    await pass_time(shop, DAY)
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], shop.at_stripe(payment)) == ("refunded", 5000, 5000)
    assert sorted(refund["status"] for refund in done["refunds"]) == ["succeeded", "withdrawn"]
    assert await kinds(shop) == []


@pytest.mark.parametrize("reached_stripe", [True, False])
async def test_nothing_is_called_overpaid_before_the_answer_is_known(shop: ServedShop, reached_stripe: bool) -> None:
    """A refund in doubt may have paid too much beside one that is assigned: that stays a question until it is found."""
    made = await refund_in_doubt(shop, fault="drop_after" if reached_stripe else "drop_before")
    shop.lose_webhooks()
    shop.dashboard.refund(made["payment_intent"], 5000)
    await shop.deliver()
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/assign", {"return": made["id"]}), 200)
    (item,) = expect(await shop.get("/v1/desk?kind=return_overpaid"), 200)["data"]
    assert (item["code"], item["amount"], item["actions"]) == ("overpaid_in_doubt", 5000, [])
    acknowledge, why = f"/v1/returns/{made['id']}/acknowledge", {"reason": "Goodwill."}
    expect(await shop.post(acknowledge, why), 409, "refund_in_progress")
    await pass_time(shop, DAY + HOUR)
    assert shop.at_stripe(made["payment_intent"]) == (10_000 if reached_stripe else 5000)
    items = expect(await shop.get("/v1/desk?kind=return_overpaid"), 200)["data"]
    assert [(item["code"], item["actions"]) for item in items] == [("overpaid", ["acknowledge"])] * reached_stripe
    if reached_stripe:
        expect(await shop.post(acknowledge, why), 200)
    assert "return_overpaid" not in await kinds(shop)


@pytest.mark.parametrize("was_sent", [True, False])
async def test_what_is_assigned_during_a_look_up_stops_the_call_after_it(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch, was_sent: bool
) -> None:
    """Stripe answers slowly, and a colleague refunds and assigns meanwhile."""
    if was_sent:
        made = await refund_in_doubt(shop)
    else:  # since a day and longer no worker ran
        made = await shop.create_approved_return(5000, 1, payment=shop.pay(10_000))
        await shop.receive_parcel(made["id"])
    read = shop.gateway.read_payment

    async def read_slowly(**names: Any) -> Any:
        seen = await read(**names)
        monkeypatch.undo()
        shop.dashboard.refund(made["payment_intent"], 5000)
        await shop.deliver()
        expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/assign", {"return": made["id"]}), 200)
        return seen

    monkeypatch.setattr(shop.gateway, "read_payment", read_slowly)
    shop.advance(HOUR if was_sent else 2 * DAY)
    await pass_time(shop, DAY + HOUR)
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"]) == ("refunded", 5000)
    assert shop.at_stripe(made["payment_intent"]) == 5000


async def test_what_has_waited_for_long_is_not_sent_beside_one_made_outside(shop: ServedShop) -> None:
    """No worker ran for two days, and nobody told of what a colleague did meanwhile: a look tells."""
    made = await shop.create_approved_return(5000, 1, payment=shop.pay(10_000))
    await shop.receive_parcel(made["id"])
    shop.dashboard.refund(made["payment_intent"], 5000)
    shop.lose_webhooks()
    shop.advance(2 * DAY)
    await shop.settle()
    assert shop.at_stripe(made["payment_intent"]) == 5000
    (waits,) = (await shop.read_return(made["id"]))["refunds_waiting"]
    assert (waits["status"], waits["code"]) == ("queued", "external_refund_open")


async def test_what_is_in_doubt_goes_on_where_the_assigned_refund_fails(shop: ServedShop) -> None:
    made = await refund_in_doubt(shop)
    shop.dashboard.refund(made["payment_intent"], 5000)
    await shop.deliver()
    outside = expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/assign", {"return": made["id"]}), 200)
    await pass_time(shop, HOUR)
    shop.dashboard.fail(outside["stripe_refund"])
    await pass_time(shop, 3 * HOUR)
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], shop.at_stripe(made["payment_intent"])) == ("refunded", 5000, 5000)


async def test_a_refund_held_under_a_new_key_gives_way_to_an_assigned_one(shop: ServedShop) -> None:
    """In doubt for a day, it is queued again and held; the refund that held it turns out to have paid the return."""
    made = await refund_in_doubt(shop)
    payment = made["payment_intent"]
    shop.dashboard.refund(payment, 5000)
    await shop.deliver()
    await pass_time(shop, DAY + 2 * HOUR)
    (waits,) = (await shop.read_return(made["id"]))["refunds_waiting"]
    assert (waits["status"], waits["code"]) == ("queued", "external_refund_open")
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/assign", {"return": made["id"]}), 200)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], shop.at_stripe(payment)) == ("refunded", 5000, 5000)


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_refund_refused_for_now_is_canceled_though_it_was_in_doubt(shop: ServedShop, is_there: bool) -> None:
    """Refused every hour for want of balance, it had to be waited for; Stripe is asked once more."""
    made = await refund_in_doubt(shop)
    shop.ledger.settings.balance = "short_refuses"
    await pass_time(shop, HOUR)
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    assert (refund["status"], refund["waiting_code"]) == ("queued", "refused_for_now")
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert item["actions"] == ["cancel"]
    if is_there:
        shop.ledger.settings.balance = "enough"
        shop.dashboard.refund(made["payment_intent"], 5000, metadata={"refund_id": refund["id"]})
        shop.lose_webhooks()
        expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 409, "refund_not_cancelable")
        assert (await shop.read_return(made["id"]))["amount_refunded"] == 5000
        return
    assert expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 200)["status"] == "withdrawn"
    cash = {"method": "cash", "reference": "till 3"}
    assert expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", cash), 200)["state"] == "refunded"


@pytest.mark.parametrize("counted, paid", [(0, 0), (1, 3000)])
async def test_what_is_not_sent_when_a_return_is_closed_pays_only_for_what_came(
    shop: ServedShop, with_policy: Any, counted: int, paid: int
) -> None:
    """Refunded on approval, and held: the rest is not coming, so nothing is paid ahead any more."""
    with_policy(refund_on="approval")
    made = await shop.create_approved_return(9000, 3)
    if counted:
        await shop.receive_parcel(made["id"], counted)
    expect(await shop.post(f"/v1/returns/{made['id']}/close", {"reason": "The rest is not coming."}), 200)
    await shop.settle()
    done = await shop.read_return(made["id"])
    state = "refunded" if counted else "canceled"
    assert (done["state"], done["amount_refunded"], done["overpaid_amount"]) == (state, paid, 0)
    assert await kinds(shop) == []


async def deliver_backwards(shop: ServedShop) -> None:
    """Let all due webhooks arrive, the newest first."""
    for webhook in reversed(list(shop.ledger.due_webhooks())):
        body = shop.ledger.body_of(webhook)
        await shop.receive_webhook(body, signature_of(body, SECRET, shop.clock.unix()))
        shop.ledger.mark_delivered(webhook)


async def test_an_inquirys_late_word_does_not_end_the_formal_dispute(shop: ServedShop) -> None:
    payment = shop.pay()
    await shop.create_approved_return(payment=payment)
    inquiry = shop.dashboard.open_inquiry(payment)["id"]
    shop.dashboard.escalate(inquiry)
    await deliver_backwards(shop)
    shown = expect(await shop.get(f"/v1/payments/{payment}"), 200)
    assert (shown["disputed"], shown["dispute"]["status"]) == (True, "needs_response")


async def test_a_dispute_that_was_settled_before_it_was_filed_holds_nothing_for_ever(
    shop: ServedShop, with_policy: Any
) -> None:
    """The card's network has paid the customer: nobody will ever win it, and the desk says what to do."""
    with_policy(refund_delay=HOUR)
    payment = shop.pay()
    made = await shop.create_approved_return(payment=payment)
    await shop.receive_parcel(made["id"], 3)
    dispute = shop.dashboard.open_dispute(payment)
    await shop.deliver()
    shop.ledger.change(dispute, {"status": "prevented"}, "charge.dispute.closed")
    await shop.deliver()
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("dispute_lost", 10_000, ["settle_outside"])
    assert "settled before it was filed" in item["message"]
    settled = {"method": "dispute", "reference": dispute["id"]}
    assert expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", settled), 200)["state"] == "refunded"


async def test_a_dispute_over_a_part_gives_the_customer_no_more_than_that(shop: ServedShop, with_policy: Any) -> None:
    """The desk says how much the bank has given: the rest of the refund is paid in another way."""
    with_policy(refund_delay=HOUR)
    payment = shop.pay()
    made = await shop.create_approved_return(payment=payment)
    await shop.receive_parcel(made["id"], 3)
    dispute = shop.dashboard.open_dispute(payment)
    shop.ledger.change(dispute, {"amount": 3000}, "charge.dispute.updated")
    shop.dashboard.lose(dispute["id"])
    await shop.deliver()
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["amount"], item["actions"]) == ("dispute_lost", 10_000, ["settle_outside"])
    assert (
        item["message"]
        == "The dispute over 30.00 USD of 100.00 USD is lost: the bank has given the customer that much."
    )
    assert "another method" in item["advice"]
    where = f"/v1/returns/{made['id']}/settle_outside"
    part = expect(await shop.post(where, {"method": "dispute", "reference": dispute["id"], "amount": 3000}), 200)
    assert part["state"] == "failed"
    rest = {"method": "bank_transfer", "reference": "Transfer 1", "amount": 7000}
    assert expect(await shop.post(where, rest), 200)["state"] == "refunded"


@pytest.mark.parametrize("first, then", [("lose", "dispute_won"), ("win", "dispute_lost")])
async def test_what_a_dispute_withdrew_says_how_it_has_turned(
    shop: ServedShop, with_policy: Any, first: str, then: str
) -> None:
    """Lost, the customer had the money; won after all they have not: to settle it as a dispute would pay nobody."""
    with_policy(refund_delay=HOUR)
    payment = shop.pay()
    made = await shop.create_approved_return(payment=payment)
    await shop.receive_parcel(made["id"], 3)
    dispute = shop.dashboard.open_dispute(payment)["id"]
    await shop.deliver()
    if first == "win":
        (refund,) = (await shop.read_return(made["id"]))["refunds"]
        expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 200)
        settled = {"method": "dispute", "reference": dispute}
        expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", settled), 200)
    getattr(shop.dashboard, first)(dispute)
    await shop.deliver()
    shop.dashboard.overturn(dispute)
    await shop.deliver()
    await reread(shop)
    turned = await shop.read_return(made["id"])
    assert (turned["state"], turned["failure"]["code"]) == ("failed", then)
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    actions = {"dispute_won": ["retry", "settle_outside"], "dispute_lost": ["settle_outside"]}
    assert (item["code"], item["actions"]) == (then, actions[then])


async def test_what_people_took_off_stays_off_where_an_assignment_is_undone_later(
    shop: ServedShop, with_policy: Any
) -> None:
    """80.00 of 90.00 were agreed: 30.00 by the Dashboard, 50.00 by us; then the 30.00 were for something else."""
    with_policy(refund_on="manual")
    payment = shop.pay(50_000)
    made = await shop.create_approved_return(9000, 3, payment=payment)
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"], 3)
    agreed = expect(await shop.post(f"{where}/refund", {"amount": 8000, "note": "Worn."}), 202)
    await shop.settle()
    shop.dashboard.fail(expect(await shop.get(f"/v1/refunds/{agreed['id']}"), 200)["stripe_refund"])
    shop.dashboard.refund(payment, 3000)
    await shop.deliver()
    outside = f"/v1/refunds/{await external_of(shop)}"
    expect(await shop.post(f"{outside}/assign", {"return": made["id"]}), 200)
    assert expect(await shop.post(f"{where}/retry"), 202)["amount"] == 5000
    await shop.settle()
    assert (await shop.read_return(made["id"]))["state"] == "refunded"
    expect(await shop.post(f"{outside}/acknowledge", {"reason": "That one was for tea."}), 200)
    left = await shop.read_return(made["id"])
    assert (left["state"], left["failure"]["refund"]) == ("failed", agreed["id"])
    assert expect(await shop.post(f"{where}/retry"), 202)["amount"] == 3000


async def test_a_miscount_of_what_is_paid_ahead_is_undone(shop: ServedShop, with_policy: Any) -> None:
    """No money hangs on it: neither is it refused, nor is the refund withdrawn, or a failed one tried again."""
    with_policy(refund_on="approval")
    made = await shop.create_approved_return(9000, 3)
    where = f"/v1/returns/{made['id']}/receipts"
    first = await shop.receive_parcel(made["id"])
    expect(await shop.post(f"{where}/{first['id']}/reverse", {"reason": "Another customer's."}), 200)
    assert [one["status"] for one in (await shop.read_return(made["id"]))["refunds"]] == ["queued"]
    await shop.settle()
    second = await shop.receive_parcel(made["id"])
    expect(await shop.post(f"{where}/{second['id']}/reverse", {"reason": "Another customer's."}), 200)
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    shop.dashboard.fail(refund["stripe_refund"])
    await shop.deliver()
    third = await shop.receive_parcel(made["id"])
    change = {"line": made["lines"][0]["id"], "from": "new", "to": "damaged", "quantity": 1}
    expect(await shop.post(f"{where}/{third['id']}/correct", {"lines": [change], "reason": "Torn."}), 200)
    done = await shop.read_return(made["id"])
    assert (done["state"], [one["status"] for one in done["refunds"]]) == ("failed", ["failed"])


async def test_a_closed_return_still_needs_what_is_open_of_it(shop: ServedShop) -> None:
    payment = shop.pay(10_000, card="pm_card_refundFail")
    closed = await shop.create_approved_return(6000, 2, payment=payment)
    await shop.receive_parcel(closed["id"])
    expect(await shop.post(f"/v1/returns/{closed['id']}/close", {"reason": "The rest is not coming."}), 200)
    await shop.settle()
    assert (await shop.read_return(closed["id"]))["state"] == "failed"
    other = await shop.create_return(8000, 1, payment=payment, order_id="another")
    approve = await shop.post(f"/v1/returns/{other['id']}/approve", {"override_reason": "A test."})
    assert expect(approve, 422, "amount_exceeds_refundable")["refundable"] == 7000
