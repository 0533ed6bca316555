"""Fill a database with a year of a shop: returns with all that hangs on them, by COPY or by bulk inserts.

Most are settled; a fixed number, whatever the size, is under way and on the desk. What the service deletes by age
(Stripe's events, deliveries, answers, mail) is there for the days that it is kept. The same seed makes the same shop.
Amounts are minor units, times UTC.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import asyncpg
from pydantic_core import PydanticUndefined
from sqlalchemy import JSON, Table, inspect, make_url
from sqlmodel import SQLModel

from returns_service.commands.search_index import words_of
from returns_service.domain.search_text import normalise
from returns_service.domain.slip_code import slip_code
from returns_service.store.columns import Utc
from returns_service.store.database import Database
from returns_service.store.ids import Ids
from returns_service.store.tables import (
    Delivery,
    Event,
    IdempotencyKey,
    Mail,
    Payment,
    Receipt,
    ReceiptLine,
    Refund,
    ReturnAuthorization,
    ReturnLine,
    SearchWord,
    StripeEvent,
    UndeclaredItem,
    WebhookEndpoint,
)

SPAN = timedelta(days=365)
LATEST = timedelta(hours=1)  # before now: then the newest return was asked for, and has come to where it is
BATCH = 2_000  # returns written at once
UNDER_WAY = 400  # of the newest returns; of a small shop a fifth
KEPT = {StripeEvent: timedelta(days=35), Delivery: timedelta(days=30), IdempotencyKey: timedelta(days=1)}
KEPT[Mail] = KEPT[Delivery]
SETTLED = (("refunded", 88), ("approved", 5), ("declined", 4), ("canceled", 3))  # an approved one's parcel never came
OPEN = (("requested", 30), ("approved", 40), ("counted", 5), ("refunding", 20), ("failed", 3), ("disputed", 2))
FIRST_NAMES = ("Ana", "Björn", "Chiara", "David", "Élise", "Fatima", "Georg", "Hana", "Igor", "Jürgen")
SYLLABLES = ("mül", "ler", "ros", "si", "no", "vák", "gar", "cía", "jen", "sen", "ko", "wal", "du", "bois", "öz", "tan")
CURRENCIES = (("usd", 70), ("eur", 29), ("gbp", 1))
REASONS = ("too_small", "too_large", "damaged", "not_as_described", "changed_mind")
Rows = dict[type[SQLModel], list[Mapping[str, Any]]]


async def fill(database: Database, returns: int, *, seed: int = 1) -> dict[str, int]:
    """Write so many returns into a migrated, empty database and refresh its statistics; return the rows by table."""
    shop = ShopWriter(database.now(), returns, random.Random(seed))
    open_writer = _postgresql_writer if database.postgresql else _sqlite_writer
    counts: dict[str, int] = {}
    write, finish = await open_writer(database)
    try:
        for rows in shop.batches():
            for kind, some in rows.items():
                await write(kind, some)
                counts[_table(kind).name] = counts.get(_table(kind).name, 0) + len(some)
    finally:
        await finish()
    return counts


class ShopWriter:
    """A shop's rows, oldest return first."""

    def __init__(self, now: datetime, returns: int, dice: random.Random) -> None:
        self.now, self.returns, self.dice = now, returns, dice
        self.ids = Ids(dice)
        self.under_way = min(UNDER_WAY, returns // 5)
        self.position = 0
        self.rows: Rows = {}
        self.slip_codes: set[str] = set()
        self.endpoint_id = self.ids.new("whe", now - SPAN)

    def batches(self) -> Iterator[Rows]:
        """Yield the rows of some returns at a time, by table; at last the endpoint that was told of everything."""
        for begin in range(0, self.returns, BATCH):
            self.rows = {}
            for number in range(begin, min(begin + BATCH, self.returns)):
                self.add_return(number)
            yield self.rows
        self.rows = {}
        self.add(
            WebhookEndpoint, id=self.endpoint_id, url="https://shop.example/hooks", events=["*"],
            secret="whsec_" + "0" * 32, created_at=self.now - SPAN, position=self.position,
        )  # fmt: skip
        yield self.rows

    def add(self, table: type[SQLModel], **values: Any) -> None:
        """Add one row."""
        self.rows.setdefault(table, []).append(values)

    def choose(self, among: Sequence[tuple[str, int]]) -> str:
        """Return a word, as often as its weight says."""
        return self.dice.choices([word for word, _ in among], [weight for _, weight in among])[0]

    def new_slip_code(self, return_id: str) -> str:
        """Return the slip code of a new return, as the service draws it."""
        code = next(code for draw in count() if (code := slip_code(return_id, draw)) not in self.slip_codes)
        self.slip_codes.add(code)
        return code

    def add_return(self, number: int) -> None:
        """Add one return with its payment, lines, counts, refunds and history."""
        dice = self.dice
        at = self.now - LATEST - SPAN + SPAN * (number / self.returns)
        life = self.choose(OPEN if number >= self.returns - self.under_way else SETTLED)
        name = f"{dice.choice(FIRST_NAMES)} {''.join(dice.choices(SYLLABLES, k=3)).title()}"
        email = f"{normalise(name).replace(' ', '.')}.{dice.randrange(self.returns // 3 + 1)}@example.com"
        currency, amount = self.choose(CURRENCIES), dice.randrange(10, 400) * 100
        payment_id, return_id = self.ids.new("pay", at), self.ids.new("ret", at)
        token = return_id.removeprefix("ret_")
        disputed = life == "disputed" or number % 997 == 0
        has_parcel = life in ("refunded", "counted", "refunding", "failed", "disputed")
        refunded = amount if life == "refunded" else 0
        # Within an hour: the feed of events is in the order of their times, up to that.
        approved_at, received_at, sent_at, settled_at = (at + timedelta(minutes=minutes) for minutes in (6, 30, 31, 40))
        ended_at = settled_at if has_parcel else approved_at
        state = {"counted": "approved", "disputed": "approved"}.get(life, life)
        self.add(
            Payment, id=payment_id, payment_intent=f"pi_{token}", charge=f"ch_{token}", currency=currency,
            captured=amount, authorized=amount, amount_refunded=refunded, status="succeeded", livemode=False,
            disputed=disputed, method="Visa ending 4242", method_type="card", paid_at=at, created_at=at,
            dispute={"id": f"dp_{token}", "status": "lost" if life == "refunded" else "needs_response"}
            if disputed
            else None,
        )  # fmt: skip
        row = {
            "id": return_id, "order_id": f"order_{100_000 + number}", "payment_id": payment_id, "currency": currency,
            "livemode": False, "state": state, "reason": dice.choice(REASONS), "customer_email": email,
            "email_text": normalise(email), "customer_name": name, "slip_code": self.new_slip_code(return_id),
            "tracking_numbers": [f"1Z{number:016d}"] if number % 2 else [], "details": {"cart": f"c{number % 500}"},
            "purchased_at": at - timedelta(days=9), "created_at": at, "updated_at": ended_at,
            "arrived_at": received_at if has_parcel else None, "version": 0,
            "follow_up_at": self.now if life == "disputed" else None,
            "follow_up_barred": {"code": "payment_disputed", "reason": "The payment is disputed."}
            if life == "disputed"
            else None,
        }  # fmt: skip
        self.rows.setdefault(ReturnAuthorization, []).append(row)
        lines = self._add_lines(row, amount, at, counted=has_parcel)
        for word in sorted(words_of(_LightRow(row), lines)):  # type: ignore[arg-type]
            self.add(SearchWord, return_id=return_id, word=word)
        about = {"return_id": return_id, "payment_id": payment_id}
        shown = {"object": "return", "id": return_id, "currency": currency, "amount_authorized": amount}
        self.add_event(row, "return.created", at, about, shown, to="requested", trigger="create")
        self.add_answer(at, return_id)
        if life == "requested":
            return
        trigger = {"declined": "decline", "canceled": "cancel"}.get(life, "approve")
        first = life if life in ("declined", "canceled") else "approved"
        self.add_event(row, "return.state_changed", approved_at, about, shown, to=first, trigger=trigger)
        if not has_parcel:
            return
        self._add_receipt(row, lines, received_at, about)
        if life in ("counted", "disputed"):
            return
        self._add_refund(row, lines, amount, life, sent_at, settled_at, about)

    def _add_lines(self, row: Mapping[str, Any], amount: int, at: datetime, *, counted: bool) -> list[Any]:
        lines = []
        for place in range(1 + self.dice.randrange(2)):
            share = amount if place == 0 else 0
            line = {
                "id": self.ids.new("rli", at), "return_id": row["id"], "position": place, "title": "Blue shirt",
                "sku": f"SHIRT-{self.dice.randrange(2_000)}", "quantity": 2, "total_amount": share,
                "accepted": {"new": 2} if counted else {},
            }  # fmt: skip
            self.rows.setdefault(ReturnLine, []).append(line)
            lines.append(_LightRow(line))
        return lines

    def _add_receipt(self, row: dict[str, Any], lines: Sequence[Any], at: datetime, about: Mapping[str, str]) -> None:
        receipt_id = self.ids.new("rcp", at)
        self.add(
            Receipt, id=receipt_id, return_id=row["id"], received_by="usr_dock", scan_id=f"scan-{receipt_id}",
            fingerprint="0" * 64, created_at=at,
        )  # fmt: skip
        for line in lines:
            self.add(
                ReceiptLine, id=self.ids.new("rcl", at), receipt_id=receipt_id, line_id=line.id, sku=line.sku,
                quantity=2, condition="new", disposition="restock", accepted=True,
            )  # fmt: skip
        if self.dice.randrange(50) == 0:
            self.add(
                UndeclaredItem, id=self.ids.new("und", at), receipt_id=receipt_id, return_id=row["id"], sku="SOCK",
                quantity=1, decision="scrap", decided_by="usr_dock", decided_at=at,
            )  # fmt: skip
        self.add_event(row, "receipt.created", at, about, {"object": "receipt", "id": receipt_id})

    def _add_refund(
        self, row: dict[str, Any], lines: Sequence[Any], amount: int, life: str, sent_at: datetime,
        settled_at: datetime, about: Mapping[str, str],
    ) -> None:  # fmt: skip
        status = {"refunded": "succeeded", "refunding": "pending", "failed": "failed"}[life]
        refund_id = self.ids.new("rfd", sent_at)
        token, intent = refund_id.removeprefix("rfd_"), f"pi_{row['id'].removeprefix('ret_')}"
        self.add(
            Refund, id=refund_id, payment_id=row["payment_id"], return_id=row["id"], source="return", status=status,
            amount=amount, currency=row["currency"], livemode=False, reason="requested_by_customer",
            breakdown=[{"kind": "line", "line": lines[0].id, "units": 2, "amount": amount}], created_by="policy",
            created_at=sent_at, updated_at=settled_at, first_attempt_at=sent_at, attempts=1, lease_token=1,
            parameters={"payment_intent": intent, "amount": amount, "metadata": {"refund_id": refund_id}},
            observations=2, stripe_refund=f"re_{token}", stripe_created_at=sent_at,
            failure={"code": "expired_or_canceled_card", "message": "The card is canceled."}
            if status == "failed"
            else None,
        )  # fmt: skip
        of_refund = {**about, "refund_id": refund_id}
        shown = {"object": "refund", "id": refund_id, "amount": amount, "currency": row["currency"], "status": status}
        self.add_event(row, "return.state_changed", sent_at, about, shown, to="refunding", trigger="receive")
        self.add_event(row, "refund.created", sent_at, of_refund, shown)
        self.add_event(row, "refund.status_changed", settled_at, of_refund, shown, to=status)
        if life != "refunding":
            trigger = "settle" if life == "refunded" else "fail"
            event_id = self.add_event(row, "return.state_changed", settled_at, about, shown, to=life, trigger=trigger)
            if self.is_kept(Mail, settled_at):
                self.add(
                    Mail, id=self.ids.new("eml", settled_at), event_id=event_id, return_id=row["id"], kind="refunded",
                    status="sent", created_at=settled_at, ended_at=settled_at,
                )  # fmt: skip
        for kind in ("charge.refunded", "refund.updated"):
            if self.is_kept(StripeEvent, settled_at):
                body = json.dumps({"id": f"re_{token}", "type": kind, "data": "x" * 800})
                old = self.now - settled_at > KEPT[Delivery]
                self.add(
                    StripeEvent, id=f"evt_{kind[0]}{token}", type=kind, payload="" if old else body,
                    received_at=settled_at, processed_at=settled_at, outcome="folded",
                )  # fmt: skip

    def is_kept(self, kind: type[SQLModel], at: datetime) -> bool:
        """Return whether a row of then has not been deleted by its age."""
        return self.now - at < KEPT[kind]

    def add_answer(self, at: datetime, return_id: str) -> None:
        """Add the stored answer to the request that made a return."""
        if self.is_kept(IdempotencyKey, at):
            self.add(
                IdempotencyKey, scope="key_shop /v1/returns", key=return_id, fingerprint="0" * 64, status=201,
                headers={}, body=json.dumps({"id": return_id, "filled": "x" * 1_500}), created_at=at,
            )  # fmt: skip

    def add_event(
        self, row: dict[str, Any], kind: str, at: datetime, about: Mapping[str, str], shown: Mapping[str, Any],
        **said: str,
    ) -> str:  # fmt: skip
        """Add an event of a return and, where it is still kept, its delivery; return the event's id."""
        self.position += 1
        row["version"] += 1
        event_id = self.ids.new("evt", at)
        data = {"object": shown, **said, **({"reason": None} if said else {})}
        self.add(
            Event, id=event_id, position=self.position, type=kind, sequence=row["version"], actor="key_shop",
            request_id=f"req_{event_id[4:]}", data=data, created_at=at, return_id=about["return_id"],
            refund_id=about.get("refund_id"), payment_id=about["payment_id"],
        )  # fmt: skip
        if self.is_kept(Delivery, at):
            self.add(
                Delivery, id=self.ids.new("dlv", at), event_id=event_id, endpoint_id=self.endpoint_id,
                stream=about["return_id"], position=self.position, status="delivered", ended_at=at, created_at=at,
                attempts=[{"at": at.isoformat(), "status": 200, "error": None}],
            )  # fmt: skip
        return event_id


class _LightRow:
    """A row's values as attributes: a real one costs more than all the rest of a return."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)


# --- writing ---------------------------------------------------------------------------------------------------------

Write = Callable[[type[SQLModel], Sequence[Mapping[str, Any]]], Any]


async def _postgresql_writer(database: Database) -> tuple[Write, Callable[[], Any]]:
    connect: Any = asyncpg.connect
    connection = await connect(database.url.replace("+asyncpg", ""))
    await connection.execute("SET session_replication_role = replica")  # the rows fit together: no key is checked

    async def write(kind: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
        columns, records = _records(kind, rows, sqlite=False)
        await connection.copy_records_to_table(_table(kind).name, records=records, columns=columns)

    async def finish() -> None:
        await connection.execute("ANALYZE")
        await connection.close()

    return write, finish


async def _sqlite_writer(database: Database) -> tuple[Write, Callable[[], Any]]:
    connection = sqlite3.connect(make_url(database.url).database or "")
    connection.execute("PRAGMA synchronous=OFF")

    async def write(kind: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
        columns, records = _records(kind, rows, sqlite=True)
        named, places = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
        connection.executemany(f'INSERT INTO "{_table(kind).name}" ({named}) VALUES ({places})', records)
        connection.commit()

    async def finish() -> None:
        with closing(connection):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return write, finish


def _table(kind: type[SQLModel]) -> Table:
    table: Table = SQLModel.metadata.tables[str(kind.__tablename__)]
    return table


def _records(
    kind: type[SQLModel], rows: Sequence[Mapping[str, Any]], *, sqlite: bool
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return a table's columns, and rows as a driver takes them; what a row leaves out has its default."""
    properties = inspect(kind).column_attrs
    names = [one.key for one in properties]
    columns = [one.columns[0] for one in properties]
    defaults = [_default(kind, name) for name in names]
    writers = [_writer(column.type, sqlite=sqlite) for column in columns]
    fields = list(zip(names, defaults, writers, strict=True))
    records = (
        tuple(
            value if write is None or value is None else write(value)
            for value, write in ((row.get(name, default), write) for name, default, write in fields)
        )
        for row in rows
    )
    return [column.name for column in columns], records


def _default(kind: type[SQLModel], name: str) -> Any:
    value = kind.model_fields[name].get_default(call_default_factory=True)
    return None if value is PydanticUndefined else value


def _writer(of: Any, *, sqlite: bool) -> Callable[[Any], Any] | None:
    """Return what turns a column's value into one that its driver takes; None: it takes it as it is."""
    if isinstance(of, JSON):
        return json.dumps
    if isinstance(of, Utc) and sqlite:
        return lambda at: at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return None
