"""B3: shipping is the order's: paid once for an order and payment, whatever the number of its returns."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, expect


async def two_returns(shop: ServedShop, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two approved returns of one order of 3 units, 90.00 and 10.00 for shipping: of one unit, and of two."""
    payment = shop.pay(10_000)
    common = {"payment": payment, "shipping_amount": 1000, **more}
    first = await shop.create_approved_return(3000, 1, **common)
    return first, await shop.create_approved_return(6000, 2, **common)


async def refunded(shop: ServedShop, *returns: dict[str, Any]) -> list[int]:
    await shop.settle()
    return [(await shop.read_return(made["id"]))["amount_refunded"] for made in returns]


async def test_b3_shipping_is_paid_once_an_order(shop: ServedShop, with_policy: Any) -> None:
    with_policy(shipping_refunded="always")
    first, second = await two_returns(shop)
    await shop.receive_parcel(first["id"], 1)
    await shop.receive_parcel(second["id"], 2)
    assert await refunded(shop, first, second) == [4000, 6000]
    for made in (first, second):
        shown = await shop.read_return(made["id"])
        assert (shown["state"], shown["amount_due"]) == ("refunded", 0)


async def test_b3_another_order_of_the_payment_has_its_own_shipping(shop: ServedShop, with_policy: Any) -> None:
    with_policy(shipping_refunded="always")
    payment = shop.pay(10_000)
    returns = [
        await shop.create_approved_return(3000, 1, payment=payment, shipping_amount=1000, order_id=order)
        for order in ("order_1", "order_2")
    ]
    for made in returns:
        await shop.receive_parcel(made["id"], 1)
    assert await refunded(shop, *returns) == [4000, 4000]


@pytest.mark.parametrize("told_by", ["both", "the first", "the second"])
async def test_b3_a_full_return_is_all_units_of_the_order(shop: ServedShop, with_policy: Any, told_by: str) -> None:
    """Shipping comes back with the last of them, whichever return it is on."""
    with_policy(shipping_refunded="full_return")
    payment = shop.pay(10_000)
    common: dict[str, Any] = {"payment": payment, "shipping_amount": 1000}
    units = {"order_units": 3}
    first = await shop.create_approved_return(3000, 1, **common, **({} if told_by == "the second" else units))
    second = await shop.create_approved_return(6000, 2, **common, **({} if told_by == "the first" else units))
    await shop.receive_parcel(first["id"], 1)
    assert await refunded(shop, first) == [3000]
    await shop.receive_parcel(second["id"], 1)
    assert await refunded(shop, first, second) == [3000, 3000]
    await shop.receive_parcel(second["id"], 1)
    assert sum(await refunded(shop, first, second)) == 10_000
    for made in (first, second):
        assert (await shop.read_return(made["id"]))["state"] == "refunded"


async def test_b3_without_order_units_each_return_is_a_full_one_and_shipping_paid_once(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(shipping_refunded="full_return")
    first, second = await two_returns(shop)
    await shop.receive_parcel(second["id"], 2)
    await shop.receive_parcel(first["id"], 1)
    assert await refunded(shop, first, second) == [3000, 7000]


async def test_b3_a_failed_refund_claims_it_until_it_is_superseded(shop: ServedShop, with_policy: Any) -> None:
    with_policy(shipping_refunded="always")
    first, second = await two_returns(shop)
    await shop.receive_parcel(first["id"], 1)
    await shop.settle()
    (paid,) = (await shop.read_return(first["id"]))["refunds"]
    shop.dashboard.fail(paid["stripe_refund"], "declined")
    await shop.deliver()
    await shop.receive_parcel(second["id"], 1)
    assert await refunded(shop, first, second) == [0, 3000]
    # The count behind the failed one was wrong: what it claimed is due with the other return.
    (receipt,) = expect(await shop.get(f"/v1/returns/{first['id']}/receipts"), 200)["data"]
    where = f"/v1/returns/{first['id']}/receipts/{receipt['id']}/reverse"
    expect(await shop.post(where, {"reason": "Another parcel."}), 200)
    assert await refunded(shop, first, second) == [0, 4000]
    await shop.receive_parcel(second["id"], 1)
    await shop.receive_parcel(first["id"], 1)
    assert await refunded(shop, first, second) == [3000, 7000]


@pytest.mark.parametrize("road", ["settled outside", "assigned", "adjusted"])
async def test_b3_other_ways_claim_it_too(shop: ServedShop, with_policy: Any, road: str) -> None:
    with_policy(shipping_refunded="always", refund_on="manual")
    first, second = await two_returns(shop)
    where = f"/v1/returns/{first['id']}"
    await shop.receive_parcel(first["id"], 1)
    if road == "settled outside":
        expect(await shop.post(f"{where}/settle_outside", {"method": "cash", "reference": "till"}), 200)
    elif road == "assigned":
        shop.dashboard.refund(first["payment_intent"], 4000, metadata={"return_id": first["id"]})
        await shop.deliver()
    else:
        extra = {"kind": "shipping", "amount": 1000, "description": "Told so by phone."}
        made = expect(await shop.post(f"{where}/refund", {"adjustments": [extra]}), 202)
        assert made["amount"] == 4000, "what is due for shipping is not paid beside it"
        await shop.settle()
        assert (await shop.read_return(first["id"]))["state"] == "refunded"
    await shop.receive_parcel(second["id"], 2)
    assert (await shop.read_return(second["id"]))["amount_due"] == 6000


async def test_b3_a_return_whose_shipping_another_one_pays_follows(shop: ServedShop, with_policy: Any) -> None:
    """Both wait for a dispute with shipping due; won, the first pays it, and the second pays only its units."""
    with_policy(shipping_refunded="always")
    first, second = await two_returns(shop)
    dispute = shop.dashboard.open_dispute(first["charge"])
    await shop.deliver()
    await shop.receive_parcel(first["id"], 1)
    await shop.receive_parcel(second["id"], 2)
    assert [(await shop.read_return(made["id"]))["amount_due"] for made in (first, second)] == [4000, 7000]
    shop.dashboard.win(dispute["id"])
    assert await refunded(shop, first, second) == [4000, 6000]


async def test_b3_two_returns_are_approved_with_the_shipping_of_one(shop: ServedShop, with_policy: Any) -> None:
    """Their estimates hold the shipping twice; the payment needs to hold it once."""
    with_policy(shipping_refunded="always")
    first, second = await two_returns(shop)
    assert [made["amount_estimated"] for made in (first, second)] == [4000, 7000]
    assert second["state"] == "approved"


async def test_b3_a_return_of_more_units_than_the_order_has_is_refused(shop: ServedShop) -> None:
    body = {"order_id": "order_1", "payment_intent": shop.pay(), "currency": "usd", "order_units": 2,
            "lines": [{"sku": "SHIRT", "quantity": 3, "total_amount": 900}]}  # fmt: skip
    expect(await shop.post("/v1/returns", body), 422, "quantity_exceeds_ordered")


async def complete_order(shop: ServedShop, with_policy: Any, **policy: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two returns of an order of 3 units that are all counted: the second one pays the shipping."""
    with_policy(shipping_refunded="full_return", **policy)
    first, second = await two_returns(shop, order_units=3)
    await shop.receive_parcel(first["id"], 1)
    await shop.receive_parcel(second["id"], 2)
    return first, second


async def test_b3_an_unsent_refund_gives_shipping_back_that_is_due_no_more(shop: ServedShop, with_policy: Any) -> None:
    first, second = await complete_order(shop, with_policy, refund_delay=600)
    assert (await shop.read_return(second["id"]))["amount_open"] == 7000
    (receipt,) = expect(await shop.get(f"/v1/returns/{first['id']}/receipts"), 200)["data"]
    where = f"/v1/returns/{first['id']}/receipts/{receipt['id']}/reverse"
    expect(await shop.post(where, {"reason": "Another parcel."}), 200)
    shown = await shop.read_return(second["id"])
    assert [(r["status"], r["amount"]) for r in shown["refunds"]] == [("withdrawn", 7000), ("queued", 6000)]
    assert shown["state"] == "refunding"


async def test_b3_shipping_that_was_sent_and_is_undue_is_told(shop: ServedShop, with_policy: Any) -> None:
    first, second = await complete_order(shop, with_policy)
    assert await refunded(shop, first, second) == [3000, 7000]
    (receipt,) = expect(await shop.get(f"/v1/returns/{first['id']}/receipts"), 200)["data"]
    change = {"line": first["lines"][0]["id"], "from": "new", "to": "missing", "quantity": 1}
    where = f"/v1/returns/{first['id']}/receipts/{receipt['id']}/correct"
    expect(await shop.post(where, {"lines": [change], "reason": "An empty box."}), 200)
    told = [(await shop.read_return(made["id"]))["overpaid_amount"] for made in (first, second)]
    assert told == [3000, 1000]
    kinds = [item["kind"] for item in expect(await shop.get("/v1/desk"), 200)["data"]]
    assert kinds == ["return_overpaid"] * 2


async def test_b3_a_return_that_tells_the_orders_size_changes_what_its_own_read_has_touched(
    shop: ServedShop, with_policy: Any
) -> None:
    """The read of its payment brings news of the first return; then the order turns out to be larger."""
    with_policy(shipping_refunded="full_return", refund_delay=600)
    payment = shop.pay(20_000, "pm_card_pendingRefund")
    first = await shop.create_approved_return(6000, 2, payment=payment, shipping_amount=1000)
    await shop.receive_parcel(first["id"], 1)
    shop.advance(600)
    await shop.work()
    await shop.receive_parcel(first["id"], 1)
    sent, _ = (await shop.read_return(first["id"]))["refunds"]
    shop.dashboard.settle(sent["stripe_refund"])
    shop.lose_webhooks()
    await shop.create_return(6000, 2, payment=payment, shipping_amount=1000, order_units=4)
    shown = await shop.read_return(first["id"])
    told = [(refund["status"], refund["amount"]) for refund in shown["refunds"]]
    assert told == [("succeeded", 3000), ("withdrawn", 4000), ("queued", 3000)]


async def test_b3_what_is_due_outside_follows_the_orders_shipping(shop: ServedShop, with_policy: Any) -> None:
    """An exchange bears what its label costs beyond the shipping: another return that takes the shipping changes it."""
    with_policy(shipping_refunded="always", refund_on="manual", label_cost={"usd": 1000})
    common: dict[str, Any] = {"payment": shop.pay(20_000), "shipping_amount": 300}
    first = await shop.create_approved_return(2000, 2, resolution="exchange", **common)
    second = await shop.create_approved_return(6000, 2, **common)
    for made in (first, second):
        await shop.receive_parcel(made["id"], 1)
    assert (await shop.read_return(first["id"]))["amount_due_outside"] == 300
    extra = {"adjustments": [{"kind": "shipping", "amount": 300, "description": "Shipping"}]}
    expect(await shop.post(f"/v1/returns/{second['id']}/refund", extra), 202)
    assert await told_outside(shop, first) == (0, 0, [])


async def told_outside(shop: ServedShop, made: dict[str, Any]) -> tuple[int, int, list[str]]:
    """Return what a return is due outside, what its newest event tells of it, and what of that is on the desk."""
    shown = await shop.read_return(made["id"])
    events = expect(await shop.get(f"/v1/returns/{made['id']}/events?limit=100"), 200)["data"]
    telling = [event for event in events if event["data"]["object"]["object"] == "return"]
    newest = max(telling, key=lambda event: int(event["sequence"]))["data"]["object"]
    items = expect(await shop.get("/v1/desk"), 200)["data"]
    on_desk = [item["kind"] for item in items if item["kind"] == "resolution_due"]
    return shown["amount_due_outside"], newest["amount_due_outside"], on_desk


async def told_as_overpaid(shop: ServedShop) -> dict[str, int]:
    """Return what is on the desk as overpaid, minor units by return."""
    items = expect(await shop.get("/v1/desk"), 200)["data"]
    names = [item["return"] for item in items if item["kind"] == "return_overpaid"]
    return {name: (await shop.read_return(name))["overpaid_amount"] for name in names}


async def test_b3_shipping_that_a_new_returns_order_size_makes_undue_is_told(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(shipping_refunded="full_return")
    common: dict[str, Any] = {"payment": shop.pay(20_000), "shipping_amount": 1000}
    first = await shop.create_approved_return(6000, 2, **common)
    await shop.receive_parcel(first["id"], 2)
    assert await refunded(shop, first) == [7000]
    await shop.create_return(3000, 1, **common, order_units=3)
    assert await told_as_overpaid(shop) == {first["id"]: 1000}


async def test_b3_shipping_that_a_canceled_return_makes_undue_is_told(shop: ServedShop, with_policy: Any) -> None:
    first, second = await complete_order(shop, with_policy, refund_on="manual")
    expect(await shop.post(f"/v1/returns/{second['id']}/refund", {}), 202)
    assert await refunded(shop, second) == [7000]
    spite = {"reason": "Not of this order.", "override_reason": "The shop keeps it."}
    expect(await shop.post(f"/v1/returns/{first['id']}/cancel", spite), 200)
    assert await told_as_overpaid(shop) == {second["id"]: 1000}


async def test_b3_shipping_that_a_closed_return_makes_undue_is_told(shop: ServedShop, with_policy: Any) -> None:
    """Both are paid ahead, the second one with the shipping of all; the first one's unit never comes."""
    with_policy(shipping_refunded="full_return", refund_on="approval")
    payment = shop.pay(20_000, "pm_card_pendingRefund")
    first, second = await two_returns(shop, order_units=3, payment=payment)
    await shop.work()
    await shop.work()
    assert [(await shop.read_return(made["id"]))["amount_open"] for made in (first, second)] == [3000, 7000]
    expect(await shop.post(f"/v1/returns/{first['id']}/close", {"reason": "It is lost."}), 200)
    assert await told_as_overpaid(shop) == {first["id"]: 3000, second["id"]: 1000}


@pytest.mark.parametrize("road", ["counted", "settled outside", "assigned"])
async def test_b3_shipping_that_another_return_takes_from_an_assigned_refund_is_told(
    shop: ServedShop, with_policy: Any, road: str
) -> None:
    """A colleague paid the first one in the Dashboard, shipping and all; the second one is paid first."""
    with_policy(shipping_refunded="always", refund_on="receipt" if road == "counted" else "manual")
    first, second = await two_returns(shop, payment=shop.pay(20_000))
    shop.dashboard.refund(first["payment_intent"], 4000, metadata={"return_id": first["id"]})
    await shop.deliver()
    assert await told_as_overpaid(shop) == {}
    await shop.receive_parcel(second["id"], 2)
    if road == "settled outside":
        cash = {"method": "cash", "reference": "till"}
        expect(await shop.post(f"/v1/returns/{second['id']}/settle_outside", cash), 200)
    elif road == "assigned":
        shop.dashboard.refund(second["payment_intent"], 7000, metadata={"return_id": second["id"]})
        await shop.deliver()
    await shop.settle()
    assert await told_as_overpaid(shop) == {first["id"]: 1000}
