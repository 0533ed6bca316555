"""A person is forgotten at the portal too: their link's session, what they bought, their photos."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from returns_service.commands import erasure
from returns_service.domain.forgotten import REDACTED
from returns_service.domain.search_text import normalise
from returns_service.store.tables import Photo, PortalSession, UnmatchedReceipt
from returns_service.worker.maintenance import delete_expired
from tests.factories import (
    create_payment,
    create_photo,
    create_portal_session,
    create_return,
    create_saved_view,
    create_unmatched_receipt,
)
from tests.harness.shop import BY, Shop

EMAIL = "Anna.Muster@example.com"


@pytest.mark.parametrize("named", [{"order_id": "order_7"}, {"email": EMAIL.upper()}])
async def test_sessions_lose_their_names_and_photos_go(shop: Shop, named: dict[str, str]) -> None:
    async with shop.db.transaction() as tx:
        payment = await create_payment(tx)
        address = {"customer_email": EMAIL, "email_text": normalise(EMAIL)}
        made = await create_return(tx, payment, order_id="order_7", **address)
        line = {"sku": "SHIRT", "title": "Shirt for Anna Muster", "quantity": 1, "total_amount": 1000}
        more = {"order_id": "order_7", "customer_name": "Anna Muster", "lines": [line], **address}
        session = await create_portal_session(tx, payment, return_id=made.id, **more)
        await create_photo(tx, portal_session_id=session.id, return_id=made.id)
        other = await create_portal_session(tx, payment, order_id="order_8", customer_email="b@b.test")
        kept = await create_photo(tx, portal_session_id=other.id)
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, shop.policy, **named))
    assert (done.counts["portal_sessions"], done.counts["photos"]) == (1, 1)
    async with shop.db.reading() as tx:
        row = await tx.get_one(PortalSession, session.id)
        assert "Muster" not in repr(row.model_dump())
        assert row.lines == [line | {"title": None}]
        assert (await tx.exec(select(Photo.id))).all() == [kept.id]
        assert (await tx.get_one(PortalSession, other.id)).customer_email == "b@b.test"
    again = await shop.db.run(lambda tx: erasure.forget(tx, BY, shop.policy, **named))
    assert (again.counts["portal_sessions"], again.counts["photos"]) == (0, 0)


async def test_a_link_without_the_address_is_found_by_its_return(shop: Shop) -> None:
    """The shop told the address later, of the return alone; the link still names who sent it."""
    async with shop.db.transaction() as tx:
        payment = await create_payment(tx)
        address = {"customer_email": EMAIL, "email_text": normalise(EMAIL)}
        made = await create_return(tx, payment, order_id="order_7", **address)
        named = {"order_id": "order_7", "customer_name": "Anna Muster", "customer_email": None}
        sent = await create_portal_session(tx, payment, return_id=made.id, **named)
        unused = await create_portal_session(tx, payment, **named)
        await create_photo(tx, portal_session_id=unused.id)
        husbands = named | {"customer_email": "karl@example.com", "email_text": "karl@example.com"}
        other = await create_portal_session(tx, payment, **husbands)
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, shop.policy, email=EMAIL))
    assert (done.counts["portal_sessions"], done.counts["photos"]) == (2, 1)
    async with shop.db.reading() as tx:
        names = {name: (await tx.get_one(PortalSession, name)).customer_name for name in (sent.id, unused.id, other.id)}
    assert names == {sent.id: None, unused.id: None, other.id: "Anna Muster"}


async def test_an_address_without_a_return_is_forgotten_where_people_typed_it(shop: Shop) -> None:
    async with shop.db.transaction() as tx:
        note = {"note": f"A call of {EMAIL}: it is hers", "items": [{"sku": "A", "quantity": 1, "condition": "new"}]}
        parcel = await create_unmatched_receipt(tx, **note)
        await create_unmatched_receipt(tx, note="Nobody's")
        await create_saved_view(tx, name="Anna", filters={"q": EMAIL.lower()})
    done = await shop.db.run(lambda tx: erasure.forget(tx, BY, shop.policy, email=EMAIL))
    assert (dict(done.counts), done.left) == ({"views": 1, "unmatched": 1}, [])
    async with shop.db.reading() as tx:
        kept = await tx.get_one(UnmatchedReceipt, parcel.id)
    assert (kept.note, kept.items) == (REDACTED, note["items"])


async def test_links_that_nothing_was_sent_by_are_deleted_a_while_after_their_end(shop: Shop) -> None:
    async with shop.db.transaction() as tx:
        payment = await create_payment(tx)
        made = await create_return(tx, payment)
        over = tx.now - timedelta(days=31)
        unused = await create_portal_session(tx, payment, expires_at=over)
        await create_photo(tx, portal_session_id=unused.id)
        sent = await create_portal_session(tx, payment, expires_at=over, return_id=made.id)
        fresh = await create_portal_session(tx, payment, expires_at=tx.now - timedelta(days=1))
    assert await delete_expired(shop.db, idempotency_hours=24, inbox_days=30) == 2
    async with shop.db.reading() as tx:
        assert set((await tx.exec(select(PortalSession.id))).all()) == {sent.id, fresh.id}
        assert (await tx.exec(select(Photo.id))).all() == []
