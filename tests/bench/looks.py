"""What people, programs, scrapers and workers look at in a shop, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import text

from returns_service.queries.refund_journal import journal_after
from returns_service.return_case.event_feed import bring_up_to_date
from returns_service.store.claims import claim_refunds
from returns_service.store.delivery_claims import claim_deliveries, waiting
from returns_service.worker import maintenance
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk

Look = Callable[[], Awaitable[Any]]
# One of the oldest refunded returns.
CHOSEN = """
    SELECT return_authorization.id, customer_email, order_id, payment_intent
    FROM return_authorization JOIN payment ON payment.id = payment_id
    WHERE return_authorization.currency = 'eur' AND state = 'refunded'
    ORDER BY return_authorization.id LIMIT 1
"""


async def looks_at(shop: ServedShop, pages: Desk) -> dict[str, Look]:
    """Return every look, all of which change nothing that another one sees."""
    paths, journal_from = await api_paths(shop), shop.db.now() - timedelta(days=1_000)

    def ask(path: str) -> Look:
        async def look() -> None:
            (await shop.get(path)).raise_for_status()

        return look

    def show(path: str, client: httpx.AsyncClient) -> Look:
        async def look() -> None:
            (await client.get(path, headers=pages.headers)).raise_for_status()

        return look

    async def claim() -> None:
        async with shop.db.transaction() as tx:
            await claim_refunds(tx, 10)

    async def deliver() -> None:
        async with shop.db.transaction() as tx:
            await claim_deliveries(tx, {found.endpoint_id: 5 for found in await waiting(tx)})

    async def sweep() -> None:
        await maintenance.delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
        await maintenance.note_arrivals(shop.db)

    async def find_chores() -> None:
        await shop.db.read(maintenance.find_due_chores)

    async def journal() -> None:
        await shop.db.read(lambda tx: journal_after(tx, begin=journal_from, end=None, after="", limit=100))

    return {
        **{name: ask(path) for name, path in paths.items()},
        **{name: show(path, pages.client) for name, path in page_paths(paths).items()},
        "page of the portal": show(await open_portal(shop), pages.client),
        "claim refunds": claim,
        "claim deliveries": deliver,
        "place events": lambda: bring_up_to_date(shop.db),
        "find chores": find_chores,
        "sweep what is old": sweep,
        "journal, first page": journal,
    }


async def api_paths(shop: ServedShop) -> dict[str, str]:
    """Return what is asked of the API."""
    async with shop.db.reading() as tx:
        found = (await tx.execute(text(CHOSEN))).one()
        refund = (await tx.execute(text("SELECT id FROM refund WHERE return_id = :id"), {"id": found[0]})).scalar_one()
        shared = "SELECT payment_intent FROM payment ORDER BY captured DESC LIMIT 1"
        of_many = (await tx.execute(text(shared))).scalar_one()
    lately = (shop.db.now() - timedelta(days=400)).isoformat().replace("+", "%2B")
    return {
        "read": f"/v1/returns/{found[0]}",
        "a return's events": f"/v1/returns/{found[0]}/events",
        "list": "/v1/returns?limit=20",
        "list, deep": f"/v1/returns?limit=20&starting_after={found[0]}",
        "export, first page": "/v1/returns?limit=100",
        "list by state": "/v1/returns?state=failed",
        "list by two states": "/v1/returns?state=requested,refunded",
        "list by e-mail": f"/v1/returns?customer_email={found[1]}",
        "list by order": f"/v1/returns?order_id={found[2]}",
        "list by payment": f"/v1/returns?payment_intent={found[3]}",
        "list of a payment with dozens": f"/v1/returns?payment_intent={of_many}&limit=20",
        "list by metadata": "/v1/returns?metadata[cart]=c7",
        "list made since": f"/v1/returns?limit=20&created[gte]={lately}",
        "list changed since": f"/v1/returns?limit=20&updated[gte]={lately}",
        "search an order": f"/v1/returns?q={found[2]}",
        "search without a hit": "/v1/returns?q=nobody",
        "search a common name": "/v1/returns?q=ana",
        "search what all have": "/v1/returns?q=order",
        "search two common words": "/v1/returns?q=ana+ros",
        "search two common words that don't meet": "/v1/returns?q=chiara+björn",
        "read a payment": f"/v1/payments/{found[3]}",
        "refunds": "/v1/refunds?limit=20",
        "refunds by status": "/v1/refunds?status=failed",
        "refunds by payment": f"/v1/refunds?payment_intent={found[3]}",
        "refunds by metadata": "/v1/refunds?metadata[cart]=c7",
        "refunds by rare metadata": "/v1/refunds?metadata[cart]=nothing",
        "read a refund": f"/v1/refunds/{refund}",
        "events": "/v1/events",
        "events by type": "/v1/events?type=refund.created",
        "deliveries": "/v1/deliveries?status=dead",
        "desk": "/v1/desk",
        "metrics": "/metrics",
    }


def page_paths(asked: Mapping[str, str]) -> dict[str, str]:
    """Return the staff's pages."""
    return {
        "page home": "/", "page returns": "/returns", "page returns, done": "/returns?view=done",
        "page returns, a currency": "/returns?currency=gbp", "page returns, search a name": "/returns?q=ana",
        "page returns, search what all have": "/returns?q=order", "page approvals": "/approvals",
        "page desk": "/refunds", "page return": asked["read"].removeprefix("/v1"), "page dock": "/receive",
        "page dock, search": f"/receive?{asked['search an order'].partition('?')[2]}", "page settings": "/settings",
        "page health": "/settings/health", "page dashboard, 7 days": "/dashboard?days=7",
    }  # fmt: skip


async def open_portal(shop: ServedShop) -> str:
    """Return the path of a new customer's link."""
    line = {"sku": "SHIRT", "title": "Blue shirt", "quantity": 1, "total_amount": 5_000}
    body = {"order_id": "order_portal", "payment_intent": shop.pay(5_000), "currency": "usd", "lines": [line]}
    made = await shop.post("/v1/portal_sessions", body)
    return httpx.URL(made.raise_for_status().json()["url"]).raw_path.decode()
