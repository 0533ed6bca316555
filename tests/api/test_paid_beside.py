"""Refunds made outside beside refunds of ours: what one has paid of a line or an intent, no other pays again."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.stripe_simulator import signature_of
from tests.api.test_paid_otherwise import DAY, HOUR, external_of, pass_time
from tests.api.test_partial_captures import authorized, reread
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import SECRET


async def count(shop: ServedShop, made: dict[str, Any], number: int) -> None:
    lines = [{"line": made["lines"][number]["id"], "quantity": 1, "condition": "new"}]
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": lines}), 201)


async def first_line_in_doubt(shop: ServedShop) -> dict[str, Any]:
    """Return a return of two lines, 50.00 each, whose refund of the first one was sent and never reached Stripe."""
    lines = [{"sku": sku, "quantity": 1, "total_amount": 5000} for sku in ("CAP", "MUG")]
    made = await shop.create_approved_return(payment=shop.pay(20_000), lines=lines)
    await count(shop, made, 0)
    shop.faults.arm("drop_before", count=1, method="POST", path="/v1/refunds")
    await shop.work()
    return made


@pytest.mark.parametrize("named", [True, False])
async def test_a_line_in_doubt_that_another_refund_paid_is_not_paid_again(shop: ServedShop, named: bool) -> None:
    """What is due for the other line by now is no reason to send the first one's refund again."""
    made = await first_line_in_doubt(shop)
    await count(shop, made, 1)
    shop.dashboard.refund(made["payment_intent"], 5000)
    await shop.deliver()
    lines = {"lines": [{"line": made["lines"][0]["id"], "units": 1}]} if named else {}
    where = f"/v1/refunds/{await external_of(shop)}/assign"
    expect(await shop.post(where, {"return": made["id"], **lines}), 200)
    await pass_time(shop, DAY + 3 * HOUR)
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"]) == ("refunded", 10_000)
    assert [line["refunded_amount"] for line in done["lines"]] == [5000, 5000]
    assert shop.at_stripe(made["payment_intent"]) == 10_000


async def test_what_was_paid_instead_of_a_refund_in_doubt_is_no_exchange(shop: ServedShop) -> None:
    made = await first_line_in_doubt(shop)
    wanted = {"resolution": "exchange", "lines": [made["lines"][1]["id"]]}
    expect(await shop.post(f"/v1/returns/{made['id']}/resolution", wanted), 200)
    await count(shop, made, 1)
    shop.dashboard.refund(made["payment_intent"], 5000)
    await shop.deliver()
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/assign", {"return": made["id"]}), 200)
    await pass_time(shop, DAY + 3 * HOUR)
    done = await shop.read_return(made["id"])
    assert (done["amount_refunded"], done["amount_due_outside"]) == (5000, 5000)
    assert shop.at_stripe(made["payment_intent"]) == 5000


async def test_a_refund_that_a_look_up_meets_holds_the_call_whatever_the_sum(shop: ServedShop) -> None:
    """One of ours has failed at its bank, and a colleague paid as much: Stripe's sum is what it was."""
    payment = shop.pay(20_000)
    one = await shop.create_approved_return(3000, 1, payment=payment, order_id="order_1")
    await shop.receive_parcel(one["id"])
    await shop.settle()
    await reread(shop)
    two = await shop.create_approved_return(3000, 1, payment=payment, order_id="order_2")
    await shop.receive_parcel(two["id"])
    shop.faults.arm("drop_before", count=1, method="POST", path="/v1/refunds")
    await shop.work()
    shop.dashboard.fail((await shop.read_return(one["id"]))["refunds"][0]["stripe_refund"])
    shop.dashboard.refund(payment, 3000)
    shop.lose_webhooks()
    await pass_time(shop, 2 * HOUR)
    assert shop.at_stripe(payment) == 3000
    (waits,) = (await shop.read_return(two["id"]))["refunds_waiting"]
    assert waits["status"] == "unknown"


@pytest.mark.parametrize("hint", ["charge.refunded", "refund.created"])
async def test_nothing_is_sent_while_a_refund_made_outside_is_only_hinted_at(shop: ServedShop, hint: str) -> None:
    """A charge's sum, or a refund that may be the release of a partial capture: a read tells, and then it goes on."""
    payment = shop.pay(9000)
    if hint == "refund.created":
        payment = authorized(shop)
        shop.dashboard.capture(payment, 9000)
    made = await shop.create_approved_return(4000, 1, payment=payment)
    await reread(shop)
    shop.dashboard.refund(payment, 4000)
    for webhook in shop.ledger.due_webhooks():
        body = shop.ledger.body_of(webhook)
        if f'"{hint}"'.encode() in body:
            await shop.receive_webhook(body, signature_of(body, SECRET, shop.clock.unix()))
    shop.lose_webhooks()
    await shop.receive_parcel(made["id"])
    await shop.work()
    assert shop.at_stripe(payment) == 4000
    await reread(shop)
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/acknowledge", {"reason": "For tea."}), 200)
    await shop.settle()
    assert ((await shop.read_return(made["id"]))["state"], shop.at_stripe(payment)) == ("refunded", 8000)


async def test_a_charge_that_tells_old_sums_holds_nothing_for_long(shop: ServedShop) -> None:
    """A day late it tells of a refund of ours that has failed since."""
    payment = shop.pay(20_000)
    one = await shop.create_approved_return(3000, 1, payment=payment, order_id="order_1")
    await shop.receive_parcel(one["id"])
    await shop.work()
    shop.advance(2)
    late = [shop.ledger.body_of(webhook) for webhook in shop.ledger.due_webhooks()]
    await shop.deliver()
    shop.dashboard.fail((await shop.read_return(one["id"]))["refunds"][0]["stripe_refund"])
    await shop.deliver()
    two = await shop.create_approved_return(3000, 1, payment=payment, order_id="order_2")
    await shop.receive_parcel(two["id"])
    for body in late:
        again = body.replace(b'"evt_', b'"evt_again')
        await shop.receive_webhook(again, signature_of(again, SECRET, shop.clock.unix()))
    await shop.work()
    assert shop.at_stripe(payment) == 0
    await reread(shop)
    await shop.settle()
    assert ((await shop.read_return(two["id"]))["state"], shop.at_stripe(payment)) == ("refunded", 3000)


@pytest.mark.parametrize("road", ["retry", "retry_one", "correct", "standalone"])
async def test_what_a_second_refund_may_have_paid_is_not_paid_before_somebody_says_so(
    shop: ServedShop, road: str
) -> None:
    """Stripe made two for one intent, and the first has failed at its bank: the second has paid."""
    payment = shop.pay(50_000)
    made = await shop.create_approved_return(payment=payment)
    if road == "standalone":
        expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 10_000}), 202)
    receipt = await shop.receive_parcel(made["id"], 3) if road != "standalone" else {}
    await shop.settle()
    (first,) = expect(await shop.get("/v1/refunds"), 200)["data"]
    shop.dashboard.refund(payment, 10_000, metadata={"refund_id": first["id"]})
    shop.dashboard.fail(first["stripe_refund"])
    await shop.deliver()
    where = f"/v1/returns/{made['id']}/retry" if road == "retry" else f"/v1/refunds/{first['id']}/retry"
    if road == "correct":
        change = {"line": made["lines"][0]["id"], "from": "new", "to": "opened", "quantity": 1}
        body = {"lines": [change], "reason": "Its seal is broken."}
        expect(await shop.post(f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct", body), 200)
    else:
        expect(await shop.post(where), 409, "external_refund_open")
    await shop.settle()
    assert shop.at_stripe(payment) == 10_000
    if road == "retry":
        desk = expect(await shop.get("/v1/desk"), 200)["data"]
        ways = {item["kind"]: (item["return"], item["actions"]) for item in desk}
        assert ways == {
            "refund_failed": (made["id"], ["settle_outside"]),
            "payment_overpaid": (made["id"], ["assign", "acknowledge"]),
        }
    said = {"reason": "The customer has sent it back."}
    expect(await shop.post(f"/v1/refunds/{await external_of(shop)}/acknowledge", said), 200)
    expect(await shop.post(where), 202)
    await shop.settle()
    assert shop.at_stripe(payment) == 20_000


async def test_a_refund_in_doubt_beside_a_smaller_one_in_its_name_ends_with_a_person(shop: ServedShop) -> None:
    """A script copies the mark of one that hangs, and pays a part: which of both is meant, nobody here can know."""
    payment = shop.pay(20_000)
    made = await shop.create_approved_return(5000, 1, payment=payment)
    await shop.receive_parcel(made["id"])
    shop.faults.arm("drop_before", count=1, method="POST", path="/v1/refunds")
    await shop.work()
    (hangs,) = (await shop.read_return(made["id"]))["refunds"]
    shop.dashboard.refund(payment, 3000, metadata={"refund_id": hangs["id"]})
    await shop.deliver()
    await pass_time(shop, HOUR)
    items = expect(await shop.get("/v1/desk"), 200)["data"]
    told = {item["kind"]: (item["code"], item["actions"]) for item in items}
    assert told["refund_unknown"] == ("paid_beside", ["check"])
    again = await shop.post(f"/v1/refunds/{hangs['id']}/send_again", {"reason": "It hangs."})
    expect(again, 409, "already_refunded")
    await pass_time(shop, DAY)
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["failure"]["code"], shop.at_stripe(payment)) == ("failed", "paid_beside", 3000)
    second = await external_of(shop)
    expect(await shop.post(f"/v1/returns/{made['id']}/retry", {}), 409, "external_refund_open")
    expect(await shop.post(f"/v1/refunds/{second}/acknowledge", {"reason": "They sent it back."}), 200)
    expect(await shop.post(f"/v1/returns/{made['id']}/retry", {}), 202)
    await shop.settle()
    assert (shop.at_stripe(payment), (await shop.read_return(made["id"]))["state"]) == (8000, "refunded")


# --- refunds of no return -----------------------------------------------------------------------------------------


async def offered(shop: ServedShop) -> dict[str, list[str]]:
    """Return what the desk offers to do, by kind."""
    return {item["kind"]: item["actions"] for item in expect(await shop.get("/v1/desk"), 200)["data"]}


async def standalone(shop: ServedShop, fault: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return a payment, and a refund of no return of it: it hangs by the fault, or has succeeded."""
    payment = shop.pay(20_000)
    made = expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 5000}), 202)
    if fault:
        shop.faults.arm(fault, count=1, method="POST", path="/v1/refunds")
    await shop.work()
    return payment, expect(await shop.get(f"/v1/refunds/{made['id']}"), 200)


async def test_the_desk_offers_to_send_again_what_can_be_sent_again(shop: ServedShop) -> None:
    """Of no return: one hangs, and Stripe holds another in its name."""
    payment, hangs = await standalone(shop, "drop_before")
    shop.dashboard.refund(payment, 3000, metadata={"refund_id": hangs["id"]})
    await shop.deliver()
    await pass_time(shop, HOUR)
    assert (await offered(shop))["refund_unknown"] == ["check"]
    again = await shop.post(f"/v1/refunds/{hangs['id']}/send_again", {"reason": "It hangs."})
    expect(again, 409, "already_refunded")


@pytest.mark.parametrize("road", ["it has paid", "it has not"])
async def test_the_desk_offers_what_gets_a_failed_refund_of_no_return_on_beside_a_second(
    shop: ServedShop, road: str
) -> None:
    payment, first = await standalone(shop)
    shop.dashboard.refund(payment, 5000, metadata={"refund_id": first["id"]})
    shop.dashboard.fail(first["stripe_refund"])
    await shop.deliver()
    items = expect(await shop.get("/v1/desk"), 200)["data"]
    told = {item["kind"]: (item["actions"], item["message"]) for item in items}
    assert told["refund_failed"][0] == ["settle_outside"]
    assert told["payment_overpaid"][0] == ["assign", "acknowledge"]
    assert "may have paid the customer instead" in told["payment_overpaid"][1]
    where = f"/v1/refunds/{first['id']}"
    expect(await shop.post(f"{where}/retry"), 409, "external_refund_open")
    second = next(item["refund"] for item in items if item["kind"] == "payment_overpaid")
    if road == "it has paid":
        name = expect(await shop.get(f"/v1/refunds/{second}"), 200)["stripe_refund"]
        expect(await shop.post(f"{where}/settle_outside", {"method": "dashboard_refund", "reference": name}), 200)
    else:
        expect(await shop.post(f"/v1/refunds/{second}/acknowledge", {"reason": "They sent it back."}), 200)
        assert (await offered(shop))["refund_failed"] == ["retry", "settle_outside"]
        expect(await shop.post(f"{where}/retry"), 202)
    await shop.settle()
    assert (await offered(shop), shop.at_stripe(payment)) == ({}, 5000 if road == "it has paid" else 10_000)
