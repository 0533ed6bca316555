"""One return, all the way: asked for, approved, received in two parcels, refunded to the cent."""

from __future__ import annotations

from tests.harness.served_shop import ServedShop, expect, return_body


async def test_two_parcels_are_refunded_to_the_cent(shop: ServedShop) -> None:
    payment = shop.pay(10_000)
    made = expect(await shop.post("/v1/returns", return_body(payment)), 201)
    where = f"/v1/returns/{made['id']}"
    assert (made["state"], made["payment_intent"], made["amount_authorized"]) == ("requested", payment, 10_000)

    expect(await shop.post(f"{where}/approve", {"override_reason": "A good customer."}), 200)
    await shop.receive_parcel(made["id"], 1)
    queued = await shop.read_return(made["id"])
    assert (queued["state"], [r["status"] for r in queued["refunds"]]) == ("refunding", ["queued"])

    await shop.settle()
    partly = await shop.read_return(made["id"])
    assert (partly["state"], partly["amount_refunded"], partly["amount_due"]) == ("approved", 3333, 0)

    await shop.receive_parcel(made["id"], 2, "opened")
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], done["lines"][0]["refunded_amount"]) == ("refunded", 10_000, 10_000)
    assert [r["amount"] for r in done["refunds"]] == [3333, 6667]
    assert [sum(row["amount"] for row in r["breakdown"]) for r in done["refunds"]] == [3333, 6667]
    at_stripe = [shop.ledger.refunds.get(r["stripe_refund"]) for r in done["refunds"]]
    assert [(r["amount"], r["status"]) for r in at_stripe if r] == [(3333, "succeeded"), (6667, "succeeded")]


async def test_a_webhook_alone_finishes_what_the_worker_never_heard(shop: ServedShop) -> None:
    made = await shop.create_approved_return(6000, 2)
    await shop.receive_parcel(made["id"], 2)
    shop.faults.arm("drop_after")
    await shop.work()
    unheard = await shop.read_return(made["id"])
    assert [r["status"] for r in unheard["refunds"]] == ["unknown"]

    await shop.deliver(times=2)
    told = await shop.read_return(made["id"])
    assert (told["state"], told["amount_refunded"]) == ("refunded", 6000)
    assert len(told["refunds"]) == 1


async def test_a_late_failure_is_retried_and_the_old_refund_stays_as_history(shop: ServedShop) -> None:
    made = await shop.create_approved_return(5000, 1, card="pm_card_refundFail")
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    failed = await shop.read_return(made["id"])
    assert failed["state"] == "failed"
    assert failed["failure"]["refund"] == failed["refunds"][0]["id"]
    assert "retry" in failed["available_actions"]

    again = expect(await shop.post(f"/v1/returns/{made['id']}/retry"), 202)
    assert (again["status"], again["amount"]) == ("queued", 5000)
    both = (await shop.read_return(made["id"]))["refunds"]
    assert [r["superseded_by"] for r in both] == [again["id"], None]
