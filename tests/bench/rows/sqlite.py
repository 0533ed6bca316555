"""A life on the embedded default, one process on SQLite, against the least SQL on `sqlite3`, as durable."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from returns_service.store import schema
from returns_service.store.database import Database
from tests.bench.costs import Meter
from tests.bench.facts import Facts, Life, Statement, read_facts
from tests.bench.result import Row, row_of_costs
from tests.bench.rounds import COUNTED, Side, interleave
from tests.bench.stage import LIVES, Target, open_folder
from tests.harness.counting import counting
from tests.harness.deployment import Deployment, free_port
from tests.harness.served_shop import ServedShop, expect, open_shop, return_body

AIM = 0.04
UNITS = 200  # of the reference: lives a round


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare lives with their SQL alone."""
    async with open_folder() as folder:
        for name in ("own", "bare", "counted"):
            await create_database(folder / f"{name}.db")
        deployment = Deployment(folder, f"sqlite:///{folder}/own.db")
        try:
            port = free_port()
            await deployment.start_simulator(webhook_port=port)
            deployment.create_key()
            process = await deployment.start_web(port)
            async with httpx.AsyncClient(timeout=60) as client:
                headers = {"Authorization": f"Bearer {deployment.api_key}"}
                meter = Meter({"serve": process.pid})
                refunded = refunded_in(folder / "own.db")
                target = Target(deployment.webs, deployment.stripe, headers, client, refunded, meter)
                facts = await facts_of(folder / "own.db", (await target.live(await target.pay(1)))[0])
                ours = Side(target.pay, target.live, meter, LIVES)
                bare = connect(folder / "bare.db")
                reference = sql_side(bare, Life(facts, sqlite=True))
                await interleave(ours, reference, rounds, on_round)
                bare.close()
        finally:
            deployment.close()
        return [
            row_of_costs(
                "sqlite", ours.sums, reference.sums, aim=AIM, ours_parts=ours.parts, reference_parts=reference.parts,
                ours_sql=await count_life(f"sqlite:///{folder}/counted.db"),
                reference_sql=count_plan(Life(facts, sqlite=True)),
            )
        ]  # fmt: skip


async def create_database(file: Path) -> None:
    """Make a migrated file."""
    database = Database(f"sqlite:///{file}")
    await schema.upgrade(database)
    await database.close()


def connect(file: Path) -> sqlite3.Connection:
    """Return a connection as durable as the service's."""
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def sql_side(connection: sqlite3.Connection, life: Life) -> Side:
    """Return the least SQL on one connection: the statements are put together beforehand."""

    async def prepare(units: int) -> list[list[list[Statement]]]:
        return [life.transactions() for _ in range(units)]

    async def work(lives: list[list[list[Statement]]]) -> None:
        for transactions in lives:
            for statements in transactions:
                connection.execute("BEGIN IMMEDIATE")
                for sql, values in statements:
                    connection.execute(sql, values).fetchall()
                connection.execute("COMMIT")

    return Side(prepare, work, Meter({"driver": os.getpid()}), UNITS)


def count_plan(life: Life) -> dict[str, float]:
    """Return the statements and transactions of the least SQL."""
    transactions = life.transactions()
    return {"statements": sum(map(len, transactions)), "transactions": len(transactions)}


def rows_of(file: Path, sql: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows that a statement, written with PostgreSQL's marks, reads."""
    connection = sqlite3.connect(file)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql.replace("$", "?"), values)]
    finally:
        connection.close()


def refunded_in(file: Path) -> Callable[[], Awaitable[int]]:
    """Return what tells how many returns are refunded."""

    async def count() -> int:
        (row,) = rows_of(file, "SELECT count(*) AS number FROM return_authorization WHERE state = 'refunded'", [])
        return int(row["number"])

    return count


async def facts_of(file: Path, return_id: str) -> Facts:
    """Return what the service wrote of one return."""

    async def read(sql: str, values: list[Any]) -> list[dict[str, Any]]:
        return rows_of(file, sql, values)

    (row,) = rows_of(file, "SELECT order_id FROM return_authorization WHERE id = $1", [return_id])
    return await read_facts(read, return_id, [f"{row['order_id']}-{number}" for number in (1, 2, 3)])


async def count_life(url: str) -> dict[str, float]:
    """Return the statements and transactions of lives in process, one after the other."""
    async with open_shop(url) as shop:
        await play(shop)  # the first use of a key is written down: not part of a life
        with counting(shop) as seen:
            for _ in range(COUNTED):
                await play(shop)
        return {name: seen[name] / COUNTED for name in ("statements", "transactions")}


async def play(shop: ServedShop) -> None:
    """Play one life in process."""
    made = expect(await shop.post("/v1/returns", return_body(shop.pay())), 201)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
