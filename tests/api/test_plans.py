"""Nothing that people or programs look at takes longer because a shop has been there for years.

Every GET route, each filter, every page, the figures and what workers look for: the plan of each statement is judged.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from returns_service.domain.policy import DEFAULT
from returns_service.domain.vocabulary import DESK_KINDS
from returns_service.queries.return_views import LISTED_VIEWS
from returns_service.return_case.event_feed import bring_up_to_date
from returns_service.store.claims import claim_refunds, next_due_at
from returns_service.store.delivery_claims import claim_deliveries, waiting
from returns_service.web.operations.operation import Operation
from returns_service.web.pages.routes import PAGES
from returns_service.web.routes import OPERATIONS
from returns_service.worker import maintenance
from tests.bench.fill import fill
from tests.factories import create_reconciliation_difference, create_unmatched_receipt
from tests.harness.plans import objections, pretend_growth, statements_of
from tests.harness.served_shop import ServedShop, open_shop
from tests.harness.shop import BY
from tests.pages.conftest import add_person, open_desk

RETURNS = 300
# What may read more with the years, and why that is no harm.
EXCUSED: Mapping[str, str] = {
    r"/dashboard: reads .* of return_authorization by ix_return_state": "open returns follow the work, not the years",
    r"/metrics: reads .* by ix_(refund|delivery)_status": "what is settled is counted whole, the seldomer the more",
    r"/v1/receipts .*attached.*true": "most of these parcels are attached: the walk finds a page of them at once",
}


@pytest.fixture
async def old_shop(database_url: str) -> AsyncIterator[ServedShop]:
    """A shop with a year behind it."""
    async with open_shop(database_url) as shop:
        await fill(shop.db, RETURNS)
        async with shop.db.transaction() as tx:
            await create_unmatched_receipt(tx)
            await create_reconciliation_difference(tx)
        await pretend_growth(shop.db)
        yield shop


async def known_ids(shop: ServedShop) -> dict[str, str]:
    """Return an id for each parameter of a path, and a payment's at Stripe."""
    tables = {
        "refund_id": "refund", "payment_id": "payment", "event_id": "event",
        "delivery_id": "delivery", "endpoint_id": "webhook_endpoint", "unmatched_id": "unmatched_receipt",
        "reconciliation_id": "reconciliation_run", "receipt_id": "receipt",
    }  # fmt: skip
    async with shop.db.reading() as tx:
        rows = {name: await tx.execute(text(f"SELECT max(id) FROM {table}")) for name, table in tables.items()}  # noqa: S608
        ids = {name: str(found.scalar_one()) for name, found in rows.items()}
        at_stripe = (await tx.execute(text("SELECT max(payment_intent), max(charge) FROM payment"))).one()
        ids |= dict(zip(("payment_intent", "charge"), map(str, at_stripe), strict=True))
        of_receipt = await tx.execute(text("SELECT return_id FROM receipt WHERE id = :id"), {"id": ids["receipt_id"]})
        return {**ids, "return_id": str(of_receipt.scalar_one())}


def queries_of(operation: Operation, ids: Mapping[str, str], shop: ServedShop) -> Iterator[dict[str, str]]:
    """Yield the query strings to try: none, each filter, and a closed list's words together."""
    yield {}
    recent = (shop.db.now() - timedelta(minutes=5)).isoformat()
    for name, parameter in operation.parameters.items():
        schema = parameter.schema
        if parameter.form == "keyed":
            yield {f"{name}[cart]": "c7"}
        elif "enum" in schema:
            yield from ({name: word} for word in schema["enum"])
        elif schema.get("type") == "array":
            words = schema["items"]["enum"]
            yield {name: words[0]}
            yield {name: ",".join(words[:3])}
        elif "anyOf" in schema:
            yield {name: recent}
            yield {name: "2020-01-01T00:00:00Z"}
        else:
            of = {"return": "return_id", "refund": "refund_id", "endpoint": "endpoint_id", "event": "event_id"}
            yield {name: ids.get(of.get(name, name), "müller")}
    if operation.paged and operation.name != "list_desk_items":
        prefix = {"list_returns": "return_id", "list_refunds": "refund_id", "list_deliveries": "delivery_id"}
        if operation.name in prefix:
            yield {"starting_after": ids[prefix[operation.name]], "limit": "100"}


async def judge(shop: ServedShop, asked: list[Any], what: str, wrong: dict[str, str]) -> None:
    """Add to `wrong` what the plans of some statements show."""
    for statement in asked:
        for objection in await objections(shop.db, statement):
            wrong.setdefault(f"{what}: {objection}", statement[0])


def told(wrong: Mapping[str, str]) -> str:
    """Return the objections that nothing excuses, with their statements."""
    left = {objection: sql for objection, sql in wrong.items() if not any(re.search(e, objection) for e in EXCUSED)}
    return "\n".join(f"{objection} -- {' '.join(sql.split())[:300]}" for objection, sql in left.items())


async def test_no_route_reads_more_with_the_years(old_shop: ServedShop) -> None:
    shop, wrong = old_shop, dict[str, str]()
    ids = await known_ids(shop)
    for operation in OPERATIONS:
        if operation.method != "GET":
            continue
        path = operation.path.format(**ids)
        for query in queries_of(operation, ids, shop):
            with statements_of(shop.db) as asked:
                answer = await shop.get(path, params=query)
            assert answer.status_code == 200, (path, query, answer.text)
            await judge(shop, asked, f"{operation.path} {query}", wrong)
    with statements_of(shop.db) as asked:
        assert (await shop.get("/metrics")).status_code == 200
    await judge(shop, asked, "/metrics", wrong)
    assert not told(wrong), told(wrong)


async def test_no_page_reads_more_with_the_years(old_shop: ServedShop) -> None:
    shop, wrong = old_shop, dict[str, str]()
    ids = await known_ids(shop)
    await add_person(shop, "admin")
    paths = [re.sub(r"\{(\w+):str\}", lambda found: ids.get(found[1], "x_1"), page.path) for page in PAGES
             if page.method == "GET"]  # fmt: skip
    paths += [f"/returns?view={view}" for view in LISTED_VIEWS]
    paths += [
        "/returns?q=müller",
        "/returns?q=ana+rossi&view=done",
        "/returns?currency=gbp",
        "/returns?from=2026-11-01",
    ]
    paths += [f"/returns?after={ids['return_id']}&view=done", "/receive?q=order_100001", "/receive?q=ana"]
    paths += [f"/refunds?kind={kind}" for kind in DESK_KINDS[:3]]
    async with open_desk(shop) as desk:
        await desk.sign_in("admin@shop.test")
        for path in paths:
            with statements_of(shop.db) as asked:
                answer = await desk.get(path)
            assert answer.status_code in (200, 303, 404, 410), (path, answer.status_code)
            await judge(shop, asked, path, wrong)
    assert not told(wrong), told(wrong)


async def test_no_worker_reads_more_with_the_years(old_shop: ServedShop) -> None:
    shop, wrong = old_shop, dict[str, str]()
    with statements_of(shop.db) as asked:
        async with shop.db.transaction() as tx:
            await claim_refunds(tx, 10)
            await next_due_at(tx)
            limits = {found.endpoint_id: 5 for found in await waiting(tx)}
            await claim_deliveries(tx, limits)
        await bring_up_to_date(shop.db)
        await maintenance.refold_event(shop.db, BY, DEFAULT, livemode=False)
        await maintenance.reread_payment(shop.db, shop.gateway, BY, DEFAULT)
        await maintenance.complete_return(shop.db, BY, DEFAULT)
        await maintenance.note_arrivals(shop.db)
        await maintenance.index_late_refunds(shop.db)
        await maintenance.delete_expired(shop.db, idempotency_hours=24, inbox_days=30)
    await judge(shop, asked, "worker", wrong)
    assert not told(wrong), told(wrong)
