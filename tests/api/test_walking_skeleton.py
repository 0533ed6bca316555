"""One return, all the way: asked for, approved, received in two parcels, refunded to the cent."""

from __future__ import annotations

from tests.api.conftest import Shop, asked, said


async def test_two_parcels_are_refunded_to_the_cent(shop: Shop) -> None:
    payment = shop.paid(10_000)
    made = said(await shop.post("/v1/returns", asked(payment)), 201)
    where = f"/v1/returns/{made['id']}"
    assert (made["state"], made["payment_intent"], made["amount_authorized"]) == ("requested", payment, 10_000)

    said(await shop.post(f"{where}/approve", {"override_reason": "A good customer."}), 200)
    await shop.receive(made["id"], 1)
    queued = await shop.read(made["id"])
    assert (queued["state"], [r["status"] for r in queued["refunds"]]) == ("refunding", ["queued"])

    await shop.settle()
    partly = await shop.read(made["id"])
    assert (partly["state"], partly["amount_refunded"], partly["amount_due"]) == ("approved", 3333, 0)

    await shop.receive(made["id"], 2, "opened")
    await shop.settle()
    done = await shop.read(made["id"])
    assert (done["state"], done["amount_refunded"], done["lines"][0]["refunded_amount"]) == ("refunded", 10_000, 10_000)
    assert [r["amount"] for r in done["refunds"]] == [3333, 6667]
    assert [sum(row["amount"] for row in r["breakdown"]) for r in done["refunds"]] == [3333, 6667]
    at_stripe = [shop.ledger.refunds.get(r["stripe_refund"]) for r in done["refunds"]]
    assert [(r["amount"], r["status"]) for r in at_stripe if r] == [(3333, "succeeded"), (6667, "succeeded")]


async def test_a_webhook_alone_finishes_what_the_worker_never_heard(shop: Shop) -> None:
    made = await shop.approved(6000, 2)
    await shop.receive(made["id"], 2)
    shop.line.deaf = True
    await shop.work()
    unheard = await shop.read(made["id"])
    assert [r["status"] for r in unheard["refunds"]] == ["unknown"]

    await shop.deliver(times=2)
    told = await shop.read(made["id"])
    assert (told["state"], told["amount_refunded"]) == ("refunded", 6000)
    assert len(told["refunds"]) == 1


async def test_a_late_failure_is_retried_and_the_old_refund_stays_as_history(shop: Shop) -> None:
    made = await shop.approved(5000, 1, method="pm_card_refundFail")
    await shop.receive(made["id"], 1)
    await shop.settle()
    failed = await shop.read(made["id"])
    assert failed["state"] == "failed"
    assert failed["failure"]["refund"] == failed["refunds"][0]["id"]
    assert "retry" in failed["available_actions"]

    again = said(await shop.post(f"/v1/returns/{made['id']}/retry"), 202)
    assert (again["status"], again["amount"]) == ("queued", 5000)
    both = (await shop.read(made["id"]))["refunds"]
    assert [r["superseded_by"] for r in both] == [again["id"], None]
