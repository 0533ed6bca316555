"""A person is forgotten, the money's history is not; what is kept only for a while goes by itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text, update
from sqlmodel import col, select

from returns_service.commands import (
    counting,
    erasure,
    idempotency,
    receipts,
    refund_actions,
    refunds,
    returns,
    unmatched_receipts,
)
from returns_service.commands.idempotency import Remembered
from returns_service.domain.forgotten import REDACTED
from returns_service.domain.policy import DEFAULT
from returns_service.domain.problems import Problem
from returns_service.domain.search_text import metadata_word
from returns_service.return_case.events import to_json_object
from returns_service.return_case.loader import load_case
from returns_service.return_case.views import show_return, show_unmatched
from returns_service.store.tables import Event, IdempotencyKey, ReturnAuthorization, ReturnLine, StripeEvent
from returns_service.worker.maintenance import delete_expired
from tests.harness.shop import BY, Shop, execute_due_refunds

EMAIL = "Anna.Muster@example.com"
CANARY = "Muster"  # in everything that a person wrote
PHONE_WORD = metadata_word("phone", "Muster 0170").lstrip("\x02")  # a representation writes that one otherwise


async def everything(shop: Shop) -> str:
    """Return all that the database holds, as one text."""
    names = (
        "return_authorization return_line receipt receipt_line undeclared_item refund payment event stripe_event "
        "delivery idempotency_key search_word refund_word unmatched_receipt"
    ).split()
    async with shop.db.reading() as tx:
        found = [(await tx.execute(text(f"SELECT * FROM {name}"))).all() for name in names]  # noqa: S608
    return repr([tuple(row) for rows in found for row in rows])  # a Row's own repr leaves out the midst of long values


async def a_persons_return(shop: Shop, *, order_id: str = "order_7") -> str:
    """Return the id of a return with a person's words wherever there is room for them."""
    intent = shop.pay(9000)
    return_id = await shop.authorize_return(
        intent,
        order_id=order_id,
        reason="Mrs. Muster says it is too small",
        customer_email=EMAIL,
        customer_name="Anna Muster",
        metadata={"phone": "Muster 0170"},
    )
    note = {"internal_note": "Muster is angry", "metadata": {"phone": "Muster 0170"}}
    await shop.db.run(lambda tx: returns.update(tx, BY, DEFAULT, return_id, note))
    await shop.count(return_id, scan_id="scan_1")
    await shop.work()
    await shop.deliver()
    extra = [counting.Undeclared("HAT", 1, "a hat of Mrs. Muster")]
    await shop.db.run(lambda tx: receipts.receive(tx, BY, DEFAULT, return_id, [], extra, None))
    kind = refunds.Adjustment("goodwill", 100, "for Mrs. Muster")
    asked = refunds.RefundRequest(adjustments=[kind], note="Muster called", override_reason="Muster was promised it")
    await shop.db.run(lambda tx: refunds.refund(tx, BY, DEFAULT, return_id, asked))
    await shop.work()
    await shop.deliver()

    async def keep_an_answer(tx: Any) -> None:
        body = json.dumps(to_json_object(show_return(await load_case(tx, DEFAULT, return_id))))
        await idempotency.begin(tx, "key_shop /v1/returns", return_id, "f")
        await idempotency.remember(tx, "key_shop /v1/returns", return_id, Remembered(201, {}, body))

    await shop.db.run(keep_an_answer)
    return return_id


def money(seen: dict[str, Any]) -> dict[str, Any]:
    """Return what must outlive the person."""
    kept = ("id", "order_id", "state", "amount_refunded", "amount_due", "payment", "closed_at", "created")
    return {name: seen[name] for name in kept} | {"lines": [line["refunded_amount"] for line in seen["lines"]]}


@pytest.mark.parametrize("named", [{"order_id": "order_7"}, {"email": EMAIL.upper()}])
async def test_nothing_personal_is_left_and_no_money_is_lost(shop: Shop, named: dict[str, str]) -> None:
    return_id = await a_persons_return(shop)
    before = money(await shop.show_return(return_id))
    rows = [(r.id, r.amount, r.status, r.stripe_refund) for r in await shop.refunds()]
    written = await everything(shop)
    assert CANARY in written
    assert PHONE_WORD in written
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, **named))
    assert done.returns == [return_id]
    assert done.left == []
    left = await everything(shop)
    assert CANARY not in left
    assert PHONE_WORD not in left  # whoever guesses the number could tell
    assert EMAIL.lower() not in left.lower()
    after = await shop.show_return(return_id)
    assert money(after) == before
    assert (after["metadata"], after["customer_email"], after["reason"]) == ({"phone": REDACTED}, None, REDACTED)
    assert [(r.id, r.amount, r.status, r.stripe_refund) for r in await shop.refunds()] == rows


async def test_it_is_one_event_and_the_second_time_nothing(shop: Shop) -> None:
    return_id = await a_persons_return(shop)
    version = (await shop.show_return(return_id))["version"]
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_7"))
    again = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_7"))
    assert (again.returns, again.counts.total()) == ([], 0)
    assert (await shop.show_return(return_id))["version"] == version + 1
    async with shop.db.reading() as tx:
        newest = select(Event).where(col(Event.return_id) == return_id).order_by(col(Event.sequence).desc())
        event = (await tx.exec(newest)).first()
    assert event is not None
    assert (event.type, event.actor, event.data["trigger"]) == ("return.updated", BY.actor, "forget")


async def test_others_are_not_forgotten(shop: Shop) -> None:
    await a_persons_return(shop)
    other = await a_persons_return(shop, order_id="order_8")
    before = await shop.show_return(other)
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_7"))
    assert await shop.show_return(other) == before


async def test_a_reason_of_the_catalogue_stays_since_fees_depend_on_it(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000), customer_email=EMAIL)
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=EMAIL))
    assert (await shop.show_return(return_id))["reason"] == "too_small"


async def test_an_unanswered_refund_keeps_what_stripe_must_be_asked_with(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000), customer_email=EMAIL, metadata={"phone": "Muster 0170"})
    await shop.count(return_id)
    shop.faults.arm("drop_after", count=1, path="/v1/refunds")
    await execute_due_refunds(shop.db, shop.gateway)
    assert [r.status for r in await shop.refunds()] == ["unknown"]
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=EMAIL))
    assert done.left
    shop.advance(60)
    await shop.work()
    (row,) = await shop.refunds()
    assert (row.status, row.generation) == ("succeeded", 1)
    await shop.deliver()
    rest = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_1"))
    assert rest.left == []
    assert CANARY not in await everything(shop)


async def test_one_must_be_named_and_only_one(shop: Shop) -> None:
    for named in ({}, {"order_id": "order_7", "email": EMAIL}):
        with pytest.raises(Problem):
            await shop.db.run(lambda tx, named=named: erasure.forget(tx, BY, DEFAULT, **named))  # type: ignore[misc]
    nobody = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_nobody"))
    assert nobody.returns == []


async def test_old_answers_and_folded_events_go_by_themselves(shop: Shop) -> None:
    await a_persons_return(shop)
    async with shop.db.reading() as tx:
        first = (await tx.exec(select(StripeEvent).order_by(col(StripeEvent.id)))).first()
    assert first is not None
    unfolded = {"processed_at": None, "outcome": "failed", "next_attempt_at": shop.time}
    await shop.execute(update(StripeEvent).where(col(StripeEvent.id) == first.id).values(**unfolded))
    await delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
    async with shop.db.reading() as tx:
        assert len((await tx.exec(select(IdempotencyKey))).all()) == 1
        assert all(event.payload for event in (await tx.exec(select(StripeEvent))).all())
    shop.advance(timedelta(days=1, seconds=1).total_seconds())
    await delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
    async with shop.db.reading() as tx:
        assert (await tx.exec(select(IdempotencyKey))).all() == []
        assert all(event.payload for event in (await tx.exec(select(StripeEvent))).all())
    shop.advance(timedelta(days=30).total_seconds())
    await delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
    async with shop.db.reading() as tx:
        events = (await tx.exec(select(StripeEvent))).all()
        assert [event.id for event in events if event.payload] == [first.id]  # the only copy of its news
        assert len(events) > 1  # each event's id stays: it is what a second delivery is known by
        assert (await tx.exec(select(ReturnAuthorization))).all()


async def test_what_had_to_stay_is_named_by_its_order_since_the_address_is_gone(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000), customer_email=EMAIL, metadata={"phone": "Muster 0170"})
    await shop.count(return_id)
    shop.faults.arm("drop_after", count=1, path="/v1/refunds")
    await execute_due_refunds(shop.db, shop.gateway)
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=EMAIL))
    shop.advance(60)
    await shop.work()
    assert "Muster" in await everything(shop)
    assert len(done.left) == 1
    assert "--order order_1" in done.left[0]


async def test_why_a_refund_was_sent_again_is_forgotten_too(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000))
    await shop.count(return_id)
    shop.faults.arm("drop_before", count=1, path="/v1/refunds")
    await execute_due_refunds(shop.db, shop.gateway)
    (row,) = await shop.refunds()
    shop.advance(3600)
    await shop.db.run(
        lambda tx: refund_actions.send_again(tx, BY, DEFAULT, row.id, "Mrs. Muster has nothing on her account")
    )
    shop.advance(3600)
    await shop.work()
    assert CANARY in await everything(shop)
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_1"))
    assert CANARY not in await everything(shop)


async def test_a_title_with_the_address_is_forgotten_too(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000), customer_email=EMAIL)
    await shop.execute(
        update(ReturnLine).where(col(ReturnLine.return_id) == return_id).values(title=f"Card for {EMAIL}")
    )
    await shop.count(return_id)
    await shop.work()
    await shop.deliver()
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=EMAIL))
    assert EMAIL not in await everything(shop)


@pytest.mark.parametrize("asked", ["jürgen@EXAMPLE.com", "JU\u0308RGEN@example.com ", "ｊürgen@example.com"])
async def test_an_address_is_found_however_it_is_written(shop: Shop, asked: str) -> None:
    """D1: `forget` goes by the rule of the search, on both databases, and leaves nothing of it."""
    return_id = await shop.authorize_return(shop.pay(9000), customer_email="JÜRGEN@example.com")
    payload = json.dumps({"data": {"object": {"object": "customer", "email": "JÜRGEN@Example.com"}}})
    told = {"type": "customer.updated", "received_at": shop.time, "processed_at": shop.time, "outcome": "ignored"}
    await shop.execute(insert(StripeEvent).values(id="evt_customer", payload=payload, attempts=1, **told))
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=asked))
    assert (done.returns, done.left, done.counts["inbox"]) == ([return_id], [], 1)
    assert "rgen" not in (await everything(shop)).lower()


async def test_it_says_what_it_left(shop: Shop) -> None:
    """D1: nothing was found, another order holds the address, a parcel is still on its way."""
    nothing = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email="nobody@example.com"))
    assert (nothing.returns, len(nothing.left)) == ([], 1)
    assert "No return holds this address" in nothing.left[0]
    other = await shop.authorize_return(shop.pay(9000), order_id="order_8", customer_email=EMAIL.upper())
    return_id = await shop.authorize_return(shop.pay(9000), customer_email=EMAIL, tracking_numbers=["JD0146"])
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_1"))
    assert ["order_1" in done.left[0], "order_8" in done.left[1]] == [True, True]
    assert (await shop.show_return(return_id))["tracking_numbers"] == ["JD0146"]
    await shop.count(return_id, 3)
    rest = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_1"))
    assert (rest.left, rest.counts["tracking_numbers"]) == ([], 1)
    assert "jd0146" not in (await everything(shop)).lower()
    assert (await shop.show_return(other))["customer_email"] == EMAIL.upper()


async def test_parcels_of_nobody_are_forgotten_with_the_return_they_turn_out_to_be_of(shop: Shop) -> None:
    """C5, C6: found by order, by attachment and by label; the number stays while the parcel waits to be attached."""
    return_id = await shop.authorize_return(shop.pay(9000), customer_email=EMAIL, tracking_numbers=["JD 0146"])
    item = unmatched_receipts.UnmatchedItem("SHIRT", 3, "new")

    async def leave(**known: str) -> str:
        parcel = unmatched_receipts.Parcel([item], note="Muster's parcel", **known)
        async with shop.db.transaction() as tx:
            row = await unmatched_receipts.create_unmatched(tx, BY, parcel)
            body = json.dumps(to_json_object(show_unmatched(row)))
            tx.add(IdempotencyKey(scope="key", key=row.id, fingerprint="f", body=body, created_at=tx.now))
            return row.id

    labeled = await leave(tracking_number="jd0146")
    await leave(order_id="order_1", tracking_number="JD0146")
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=EMAIL))
    assert (done.counts["unmatched"], len(done.left)) == (2, 1)
    assert CANARY not in await everything(shop)
    await shop.db.run(lambda tx: unmatched_receipts.attach(tx, BY, DEFAULT, labeled, return_id))
    rest = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id="order_1"))
    assert (rest.left, rest.counts["tracking_numbers"]) == ([], 3)
    assert "0146" not in await everything(shop)


async def test_an_event_that_holds_the_address_is_emptied_whatever_it_is_about(shop: Shop) -> None:
    await shop.authorize_return(shop.pay(9000), customer_email=EMAIL)
    told = {"type": "customer.updated", "received_at": shop.time, "processed_at": shop.time, "outcome": "ignored"}
    payload = json.dumps({"data": {"object": {"object": "customer", "email": EMAIL.lower()}}})
    await shop.execute(insert(StripeEvent).values(id="evt_customer", payload=payload, attempts=1, **told))
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=EMAIL))
    assert EMAIL.lower() not in (await everything(shop)).lower()
