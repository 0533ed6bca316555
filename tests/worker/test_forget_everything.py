"""B1: whoever is forgotten is gone from every column of every table, and from the database's files.

Seen before: a standalone refund's metadata, a corrected address, the reference of what was settled outside, undeclared
SKUs, scan ids, order lines and titles stayed, in rows, events, kept answers or the -wal file. A canary goes into each
text and JSON column that the schema has; a column that is new has to be forgotten, or named here with a reason to stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, CheckConstraint, Column, String, Table, make_url, update
from sqlmodel import SQLModel, select
from sqlmodel.sql.sqltypes import AutoString

from returns_service.commands import erasure, receipts, returns
from returns_service.commands.counting import Count
from returns_service.commands.erasure import NOTHING_FOUND
from returns_service.commands.refunds import refund_payment
from returns_service.commands.return_lines import NewLine
from returns_service.commands.returns import NewReturn
from returns_service.domain.policy import DEFAULT
from returns_service.domain.problems import Problem
from returns_service.domain.search_text import normalise
from returns_service.return_case.locked_payment import find_payment_id, lock_payment
from returns_service.store.tables import Event, Receipt, Refund, ReturnAuthorization, ReturnLine
from tests import factories
from tests.harness.shop import BY, Shop

CANARY, EMAIL, NAME = "Kanarienvogel", "Anna.Kanarienvogel@example.com", "Anna Kanarienvogel"
ORDER = "order_7"
PERSONS = {"order_id": ORDER}, {"email": EMAIL.upper()}, {"payment": "pi_canary"}
# Tables that hold nothing of a customer.
OF_OTHERS = {
    "api_key": "staff's", "device": "staff's", "staff_user": "staff's", "staff_session": "staff's",
    "sign_in_link": "staff's", "sign_in_throttle": "hashes", "webhook_endpoint": "the shop's", "sweep": "ours",
    "stripe_pace": "ours", "stripe_account": "the shop's", "stripe_refusal": "Stripe's word about the key",
    "reconciliation_run": "ours", "reconciliation_difference": "ids, amounts and our own sentences",
    "policy_version": "the shop's rules", "charge_total": "sums of a time", "staff_mail": "codes",
    "imported_return": "digests",
    "delivery": "how calls to the shop's listeners ended", "mail": "codes",
}  # fmt: skip
CODE, ID, BY_WHOM = "a word of a closed list", "an id: the money is found by it", "a colleague, a key or Stripe"
KEPT = {
    "payment.payment_intent": ID, "payment.charge": ID, "payment.currency": CODE, "payment.status": CODE,
    "payment.method": "the brand and four digits", "payment.method_type": CODE, "payment.dispute": "Stripe's codes",
    "idempotency_key.scope": "a key of ours and a path", "idempotency_key.headers": "ids",
    "idempotency_key.key": "a repeated request is known by it until it expires within days",
    "idempotency_key.fingerprint": "a hash",
    "stripe_event.type": CODE, "stripe_event.outcome": CODE,
    "return_authorization.order_id": ID, "return_authorization.currency": CODE, "return_authorization.slip_code": ID,
    "return_authorization.policy_version": "a hash of the shop's rules", "refund.traceparent": "random ids",
    "portal_session.resolutions": CODE, "photo.about_id": ID, "photo.added_by": BY_WHOM, "unmatched_receipt.number": ID,
    "return_authorization.resolution": CODE, "return_authorization.policy": "the shop's rules",
    "return_authorization.follow_up_barred": "our own sentence",
    "return_line.sku": "what was bought", "return_line.barcodes": "what was bought", "return_line.resolution": CODE,
    "return_line.accepted": "counts by condition", "return_line.rejected": "counts by condition",
    "portal_session.order_id": ID, "portal_session.currency": CODE, "portal_session.locale": CODE,
    "portal_session.created_by": BY_WHOM, "photo.media_type": CODE,
    "receipt.received_by": BY_WHOM, "receipt.reversed_by": BY_WHOM, "receipt.fingerprint": "a hash",
    "receipt_line.sku": "what was bought", "receipt_line.condition": CODE, "receipt_line.disposition": CODE,
    "undeclared_item.decision": CODE, "undeclared_item.surplus_of": ID, "undeclared_item.decided_by": BY_WHOM,
    "unmatched_receipt.order_id": ID, "unmatched_receipt.received_by": BY_WHOM,
    "unmatched_receipt.attached_by": BY_WHOM,
    "dock_scan.line_id": ID, "dock_scan.condition": CODE, "dock_scan.scanned_by": BY_WHOM,
    "event.type": CODE, "event.actor": BY_WHOM, "event.request_id": ID,
    "refund.currency": CODE, "refund.reason": "Stripe's code", "refund.taxes": "amounts", "refund.created_by": BY_WHOM,
    "refund.approved_by": BY_WHOM, "refund.stripe_refund": ID, "refund.waiting_code": CODE, "refund.method": CODE,
}  # fmt: skip
ROW = {"kind": "line", "amount": 100, "line": "rli_x", "units": 1, "description": CANARY, "adjustment": False}
REFUND = {
    "object": "refund", "note": CANARY, "metadata": {"order_id": ORDER, "phone": CANARY}, "breakdown": [ROW],
    "method": "bank_transfer", "reference": CANARY, "failure": {"message": f"Not to {NAME}"},
}  # fmt: skip
LINE = {"sku": "MUG", "title": CANARY, "order_line": CANARY, "reason": CANARY, "quantity": 1, "total_amount": 100}
# What people may write into JSON, and texts that are ours but may quote a name.
SPECIMENS: dict[str, Any] = {
    "return_authorization.customer_email": EMAIL,
    "return_authorization.email_text": normalise(EMAIL),
    "return_authorization.past_email_texts": [normalise(EMAIL)],
    "return_authorization.customer_name": NAME,
    "return_authorization.tracking_numbers": [CANARY],
    "return_authorization.approvals": [{"by": "usr_x", "at": "2026-10-01T00:00:00Z", "note": CANARY,
                                        "override_reason": CANARY}],
    "return_authorization.metadata": {"phone": CANARY},
    "saved_view.name": f"Parcels of {NAME}",
    "saved_view.filters": {"q": EMAIL},
    "portal_session.customer_email": EMAIL,
    "portal_session.email_text": normalise(EMAIL),
    "portal_session.lines": [LINE],
    "portal_session.picks": [{"line": 0, "quantity": 1, "reason": CANARY}],
    "refund.breakdown": [ROW, {**ROW, "line": None, "kind": "goodwill", "adjustment": True}],
    "refund.metadata": {"order_id": ORDER, "ship_to": EMAIL, "street": CANARY},
    "refund.parameters": {"amount": 100, "instructions_email": EMAIL, "metadata": {"street": CANARY}},
    "refund.past_parameters": [{"generation": 1, "metadata": {"street": CANARY}, "reason": CANARY}],
    "refund.failure": {"code": "x", "message": f"The bank does not know {NAME}."},
    "refund.arrival": {"reference": f"for {EMAIL}", "kind": None, "expected": None},
    "refund.next_action": {"type": "display_details", "email_sent_to": EMAIL},
    "refund.waiting_detail": f"Waits for {EMAIL}",
    "refund.waits_for": f"Waits for {EMAIL}",
    "event.data": {
        "reason": CANARY, "note": CANARY,
        "object": {
            "object": "return", "customer_email": EMAIL, "customer_name": NAME, "tracking_numbers": [CANARY],
            "metadata": {"x": CANARY}, "lines": [LINE], "internal_note": CANARY, "refunds": [REFUND],
            "scan_id": CANARY, "undeclared": [{"sku": CANARY, "note": CANARY}],
        },
    },
    "idempotency_key.body": None,  # made of the event's object, and of an id by which it is found
    "stripe_event.payload": f'{{"data": {{"object": {{"payment_intent": "pi_canary", "name": "{CANARY}"}}}}}}',
    "unmatched_receipt.items": [{"sku": CANARY, "quantity": 1, "condition": "new"}],
}  # fmt: skip


def is_text(column: Column[Any]) -> bool:
    return isinstance(column.type, String | AutoString | JSON)


def checked(table: Table) -> set[str]:
    """Return the columns that take only the words of a closed list."""
    texts = [str(rule.sqltext) for rule in table.constraints if isinstance(rule, CheckConstraint)]
    return {column.name for column in table.columns if any(text.startswith(f"{column.name} IN") for text in texts)}


def canary_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that may hold a person's words."""
    words, own = checked(table), {"id"}
    return [
        column for column in table.columns
        if is_text(column) and not column.foreign_keys and column.name not in words | own
        and f"{table.name}.{column.name}" not in KEPT
    ]  # fmt: skip


TABLES = [table for table in SQLModel.metadata.sorted_tables if table.name not in OF_OTHERS]


def specimen(column: Column[Any]) -> Any:
    name = f"{column.table.name}.{column.name}"
    if name in SPECIMENS:
        return SPECIMENS[name]
    assert not isinstance(column.type, JSON), f"say what a person may write into {name}, or why it holds nothing"
    return CANARY


async def fill(shop: Shop) -> dict[str, str]:
    """Fill every table with things of one person, with a canary in each column; return the ids of what to look at."""
    async with shop.db.transaction() as tx:
        payment = await factories.create_payment(tx, payment_intent="pi_canary")
        made = await factories.create_return(tx, payment, order_id=ORDER, state="refunded", closed_at=tx.now)
        line = await factories.create_return_line(tx, made)
        receipt = await factories.create_receipt(tx, made)
        await factories.create_receipt_line(tx, receipt, line)
        await factories.create_undeclared_item(tx, receipt)
        await factories.create_dock_scan(tx, made)
        parcel = await factories.create_unmatched_receipt(tx, order_id=ORDER)
        await factories.create_saved_view(tx, await factories.create_staff_user(tx))
        session = await factories.create_portal_session(tx, payment, order_id=ORDER, return_id=made.id)
        await factories.create_photo(tx, portal_session_id=session.id, content=CANARY.encode())
        for about in (receipt, parcel):
            of_return = made.id if about is receipt else None
            await factories.create_photo(tx, return_id=of_return, about_id=about.id, content=CANARY.encode())
        paid: dict[str, Any] = {"status": "succeeded", "due_in_seconds": None}
        refund = await factories.create_refund(tx, payment, return_id=made.id, source="return", **paid)
        alone = await factories.create_refund(tx, payment, **paid)
        await factories.create_event(tx, type="return.created", return_id=made.id, sequence=1)
        await factories.create_event(tx, type="refund.created", refund_id=alone.id)
        await factories.create_search_word(tx, made)
        await factories.create_refund_word(tx, refund)
        await factories.create_stripe_event(tx, processed_at=tx.now)
        await factories.create_idempotency_key(tx)
        for table in TABLES:
            values = {column.name: specimen(column) for column in canary_columns(table)}
            if table.name == "idempotency_key":
                values["body"] = f'{{"id": "{made.id}", "object": "return", "customer_email": "{EMAIL}"}}'
            if values:
                await tx.execute(update(table).values(values))
        made.version = 1
    return {"return": made.id, "refund": refund.id, "alone": alone.id}


async def canaries(shop: Shop) -> dict[str, list[str]]:
    """Return where a canary sits, column by column, with what is there."""
    found: dict[str, list[str]] = {}
    async with shop.db.reading() as tx:
        for table in SQLModel.metadata.sorted_tables:
            for row in (await tx.execute(table.select())).mappings():
                for name, value in row.items():
                    if CANARY.lower() in repr(value).lower():
                        found.setdefault(f"{table.name}.{name}", []).append(repr(value))
    return found


@pytest.mark.parametrize("person", PERSONS)
async def test_b1_no_column_of_any_table_keeps_a_persons_words(shop: Shop, person: dict[str, str]) -> None:
    ids = await fill(shop)
    before = await canaries(shop)
    filled = {f"{table.name}.{column.name}" for table in TABLES for column in canary_columns(table)}
    assert filled <= before.keys(), f"no canary got into {filled - before.keys()}"
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, **person))
    assert (done.returns, done.left) == ([ids["return"]], [])
    assert await canaries(shop) == {}
    again = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, **person))
    assert (again.returns, again.counts.total()) == ([], 0)


def test_b1_what_stays_is_there_and_said_once() -> None:
    columns = {f"{table.name}.{column.name}" for table in TABLES for column in table.columns}
    assert KEPT.keys() | SPECIMENS.keys() <= columns
    assert not KEPT.keys() & SPECIMENS.keys()
    assert OF_OTHERS.keys() <= set(SQLModel.metadata.tables)


async def test_b1_nothing_is_left_in_the_files_of_sqlite(shop: Shop, database_url: str) -> None:
    path = make_url(database_url).database
    if shop.db.postgresql or path is None:
        assert await shop.db.empty_journal(), "PostgreSQL has no such file"
        return
    await fill(shop)

    def held() -> dict[str, bool]:
        files = [Path(path), Path(f"{path}-wal")]
        return {file.name: CANARY.encode() in file.read_bytes() for file in files if file.exists()}

    assert any(held().values())
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id=ORDER))
    assert await shop.db.empty_journal()
    assert not any(held().values()), held()


@pytest.mark.parametrize("person", [{"email": EMAIL}, {"order_id": "order_of_theirs"}, {"payment": "its own"}])
async def test_b1_a_refund_of_no_return_is_found(shop: Shop, person: dict[str, str]) -> None:
    """Its metadata held an address; `forget` went by returns alone."""
    intent, other = shop.pay(9000), shop.pay(9000)
    if "payment" in person:
        person = {"payment": intent}

    async def decide(tx: Any) -> None:
        for name, address in ((intent, EMAIL), (other, "somebody@else.test")):
            locked = await lock_payment(tx, str(await find_payment_id(tx, payment_intent=name, charge=None)))
            metadata = {"ship_to": address, "order_id": "order_of_theirs" if name == intent else "order_of_another"}
            await refund_payment(locked, BY, DEFAULT, amount=100, reason=None, metadata=metadata, note=f"For {address}")

    for name in (intent, other):
        await shop.authorize_return(name, order_id=f"order of {name}")
    await shop.db.run(decide)
    await shop.work()
    await shop.deliver()
    assert await canaries(shop)
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, **person))
    assert done.left == []
    assert await canaries(shop) == {}
    async with shop.db.reading() as tx:
        kept = [refund.note for refund in (await tx.exec(select(Refund))).all()]
    assert sorted(note for note in kept if note) == ["For somebody@else.test", "[forgotten]"]


async def request_return(shop: Shop, intent: str, **more: Any) -> str:
    """Return the id of a return of two mugs, all that were ordered, which nobody has approved."""
    line = NewLine("MUG", 2, 4000, order_line=f"line of {NAME}", quantity_ordered=2)

    async def work(tx: Any) -> str:
        locked = await lock_payment(tx, str(await find_payment_id(tx, payment_intent=intent, charge=None)))
        return (await returns.create(locked, BY, DEFAULT, NewReturn(ORDER, "usd", [line], **more))).row.id

    return await shop.db.run(work)


async def test_b1_an_address_that_was_corrected_is_found_and_gone(shop: Shop) -> None:
    payment = shop.pay(20_000)
    await shop.authorize_return(payment, order_id="order_8")
    return_id = await request_return(shop, payment, customer_email=EMAIL)
    right = {"customer_email": "anna@right.test"}
    await shop.db.run(lambda tx: returns.update(tx, BY, DEFAULT, return_id, right))
    assert await canaries(shop)
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, email=EMAIL))
    assert done.returns == [return_id]
    assert await canaries(shop) == {}
    assert (await shop.show_return(return_id))["customer_email"] is None


async def test_b1_what_is_forgotten_is_still_known_when_it_comes_again(shop: Shop) -> None:
    """No unit goes into two returns, and no scan counts twice, though order lines and scan ids are forgotten."""
    intent = shop.pay(20_000)
    await shop.authorize_return(intent, order_id="order_8")
    first = await request_return(shop, intent)
    await shop.db.run(lambda tx: returns.approve(tx, BY, DEFAULT, first, note=None, override_reason="ok"))
    scan = f"scan of {CANARY}"

    async def count(tx: Any) -> str:
        counts = [Count(1, "new", sku="MUG")]
        return (await receipts.receive(tx, BY, DEFAULT, first, counts, [], scan)).receipt.id

    receipt_id = await shop.db.run(count)
    await shop.db.run(lambda tx: erasure.forget(tx, BY, DEFAULT, order_id=ORDER))
    assert await canaries(shop) == {}
    assert await shop.db.run(count) == receipt_id
    with pytest.raises(Problem) as refused:
        await request_return(shop, intent)
    assert refused.value.code == "units_already_returned"
    async with shop.db.reading() as tx:
        assert len((await tx.exec(select(Receipt))).all()) == 1
        lines = (await tx.exec(select(ReturnLine))).all()
        assert len({one.order_line for one in lines if one.sku == "MUG"}) == 1


async def test_b1_nobody_is_said_to_be_nobody(shop: Shop) -> None:
    for name, word in (("order_id", "order"), ("email", "address"), ("payment", "payment")):
        person: dict[str, Any] = {name: "x@y.test"}
        done = await shop.db.run(lambda tx, person=person: erasure.forget(tx, BY, DEFAULT, **person))  # type: ignore[misc]
        assert done.left == [NOTHING_FOUND.format(named=word)]
    async with shop.db.reading() as tx:
        assert (await tx.exec(select(ReturnAuthorization))).all() == []
        assert (await tx.exec(select(Event))).all() == []
