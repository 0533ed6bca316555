"""How many statements and transactions each route, and a whole lifecycle, costs the database: counted, never timed."""

from __future__ import annotations

import pytest

from returns_service.commands.sessions import begin_session
from returns_service.commands.staff_users import add_user
from returns_service.domain.vocabulary import Role
from returns_service.store.database import Tx
from returns_service.web.pages.visitor import SESSION
from tests.harness.counting import counting
from tests.harness.served_shop import ServedShop, expect, return_body

MOST_STATEMENTS, MOST_TRANSACTIONS = 63, 15  # of one lifecycle; the first build took 175 and 28


async def test_a_lifecycle_costs_few_statements_and_fewer_transactions(shop: ServedShop) -> None:
    await shop.create_return()  # a first key use is written down once a minute: not part of a lifecycle
    payment = shop.pay()
    with counting(shop) as seen:
        made = expect(await shop.post("/v1/returns", return_body(payment)), 201)
        expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
        await shop.receive_parcel(made["id"], 3)
        await shop.settle()
        costs = dict(seen)
    assert (await shop.read_return(made["id"]))["state"] == "refunded"
    assert costs["statements"] <= MOST_STATEMENTS, seen.most_common()
    assert costs["transactions"] <= MOST_TRANSACTIONS, costs["transactions"]


async def test_a_command_locks_once_and_reads_the_rest_in_one_statement(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    body = {"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}]}
    with counting(shop) as seen:
        expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 201)
    assert seen["transactions"] == 1
    reads = [sql for sql in seen if sql.startswith("SELECT") and "api_key" not in sql and "pg_notify" not in sql]
    assert len(reads) == 2, reads
    assert seen["locks"] == (1 if shop.db.postgresql else 0)


async def test_reads_take_two_statements_and_no_transaction(shop: ServedShop) -> None:
    made = [await shop.create_approved_return() for _ in range(3)]
    await shop.receive_parcel(made[0]["id"], 1)
    for path, most in ((f"/v1/returns/{made[0]['id']}", 2), ("/v1/returns", 3)):
        with counting(shop) as seen:
            expect(await shop.get(path), 200)
        assert seen["statements"] <= most, (path, seen.most_common())
        assert seen["transactions"] == 0, path


@pytest.mark.parametrize("role, most", [("warehouse", 2), ("approver", 3), ("finance", 3), ("admin", 4)])
async def test_a_returns_page_takes_few_statements_beside_the_sessions(shop: ServedShop, role: Role, most: int) -> None:
    """Two for the return, and one for each place of theirs where something may wait."""
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()

    async def begin(tx: Tx) -> str:
        return await begin_session(tx, await add_user(tx, "somebody@shop.test", role), "password")

    headers = {"Cookie": f"{SESSION}={await shop.db.run(begin)}"}
    with counting(shop) as seen:
        page = await shop.get(f"/returns/{made['id']}", headers=headers)
    assert page.status_code == 200
    assert "refunded" in page.text
    assert sum(seen[sql] for sql in seen if "FROM staff_session" in sql) == 1
    assert seen["statements"] <= most + 1, seen.most_common()
    assert seen["transactions"] == 0


async def test_a_webhook_that_only_repeats_what_is_known_writes_the_inbox_row_alone(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 3)
    await shop.work()
    assert (await shop.read_return(made["id"]))["state"] == "refunded"
    with counting(shop) as seen:
        await shop.deliver()
    written = [sql for sql in seen if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert written
    assert all("stripe_event" in sql for sql in written), written
