"""The least SQL of a return's life: the rows that the service itself wrote of one, written again under other names.

The rows are read from a database on which the service has played a life, so the reference keeps the same facts, to the
byte, whatever the schema comes to hold. Only the names (ids, keys) differ from life to life.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple
from uuid import uuid4

Rows = Sequence[Mapping[str, Any]]
Read = Callable[[str, list[Any]], Awaitable[Rows]]  # a statement with its values -> rows
OF_RETURN = {
    "return_authorization": "id = $1",
    "payment": "id = (SELECT payment_id FROM return_authorization WHERE id = $1)",
    "return_line": "return_id = $1 ORDER BY position",
    "search_word": "return_id = $1",
    "receipt": "return_id = $1",
    "receipt_line": "receipt_id IN (SELECT id FROM receipt WHERE return_id = $1)",
    "refund": "return_id = $1",
    "event": "return_id = $1 ORDER BY sequence",
}
NAMES = ("id", "payment_id", "return_id", "receipt_id", "line_id", "refund_id", "payment_intent", "charge",
         "stripe_refund", "slip_code", "key")  # fmt: skip


class Statement(NamedTuple):
    """A statement and its values."""

    sql: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Facts:
    """The rows of one return's life, by table; the keys and Stripe's events oldest first."""

    rows: Mapping[str, Rows]

    @property
    def return_id(self) -> str:
        """The return's id."""
        return str(self.rows["return_authorization"][0]["id"])

    @property
    def payment_intent(self) -> str:
        """The payment's name at Stripe."""
        return str(self.rows["payment"][0]["payment_intent"])


async def read_facts(read: Read, return_id: str, keys: Sequence[str]) -> Facts:
    """Return all rows of a return's life whose requests came under `keys`, one after the other."""
    rows = {table: await read(f"SELECT * FROM {table} WHERE {of}", [return_id]) for table, of in OF_RETURN.items()}
    rows["event"] = [{**event, "position": None} for event in rows["event"]]  # each has one of its own, given later
    chosen = "SELECT * FROM idempotency_key WHERE key = $1"
    rows["idempotency_key"] = [row for key in keys for row in await read(chosen, [key])]
    payment, made = rows["payment"][0]["payment_intent"], rows["return_authorization"][0]["created_at"]
    told = "SELECT * FROM stripe_event WHERE received_at >= $1 AND payload LIKE $2 ORDER BY received_at"
    rows["stripe_event"] = await read(told, [made, f"%{payment}%"])
    return Facts(rows)


class Life:
    """The transactions of a life: create, approve, receive, claim, answer, and Stripe's events as one more."""

    def __init__(self, facts: Facts, *, sqlite: bool = False) -> None:
        self.facts, self._sqlite = facts, sqlite
        rows = facts.rows
        names = [row[column] for table in rows.values() for row in table for column in NAMES if column in row]
        self._names = list(dict.fromkeys(name for name in names if isinstance(name, str)))
        self._plan = self._transactions()

    def new_names(self, unit: str | None = None, **given: str) -> dict[str, str]:
        """Return new names for the old ones; `given` names columns whose new value somebody else decides."""
        unit = unit or uuid4().hex[:22]
        made = {name: f"{name[: name.rfind('_') + 1]}{unit}{at:02d}" for at, name in enumerate(self._names)}
        for column, name in given.items():
            table = "refund" if column == "stripe_refund" else "payment"
            made[self.facts.rows[table][0][column]] = name
        return made

    def unit_of(self, return_id: str) -> str:
        """Return the unit whose names a return carries."""
        return return_id.rpartition("_")[2][:-2]

    def transaction(self, number: int, names: Mapping[str, str]) -> list[Statement]:
        """Return the statements of one transaction under these names."""
        return [
            Statement(sql, tuple(names.get(value, value) if isinstance(value, str) else value for value in values))
            for sql, values in self._plan[number]
        ]

    def transactions(self) -> list[list[Statement]]:
        """Return all transactions of one more life, with one of Stripe's events."""
        names, event = self.new_names(), self.facts.rows["stripe_event"][-1]
        event_id = names[self.facts.return_id].replace("ret_", "evt_")
        told = [self.event(event_id, event["payload"])]
        return [*(self.transaction(number, names) for number in range(len(self._plan))), told]

    def event(self, event_id: str, payload: str) -> Statement:
        """Return the statement that takes one of Stripe's events in."""
        row = {**self.facts.rows["stripe_event"][-1], "id": event_id, "payload": payload}
        sql, values = self._insert("stripe_event", [row])
        return Statement(f"{sql} ON CONFLICT DO NOTHING", values)

    def _transactions(self) -> list[list[Statement]]:
        rows = self.facts.rows
        (row,), (payment,), (refund,) = rows["return_authorization"], rows["payment"], rows["refund"]
        grouped = groupby(rows["event"], key=lambda event: event["created_at"])
        created, approved, received, *later = [list(events) for _, events in grouped]
        answered = [event for events in later for event in events]
        keys = [self._key(key) for key in rows["idempotency_key"]]
        of_return = f"SELECT payment_id FROM return_authorization WHERE id = {self._mark(1)}"
        lock = f"SELECT * FROM payment WHERE id = ({of_return})"
        locked = Statement(lock if self._sqlite else f"{lock} FOR NO KEY UPDATE", (row["id"],))
        asked = {**row, "state": "requested", "policy": None, "approvals": "[]", "version": created[-1]["sequence"]}
        queued = {**refund, "status": "queued", "stripe_refund": None, "next_attempt_at": refund["created_at"]}
        line = rows["return_line"][0]
        return [
            [
                keys[0][0],
                self._insert("payment", [payment]),
                self._insert("return_authorization", [asked]),
                self._insert("return_line", rows["return_line"]),
                self._insert("search_word", rows["search_word"]),
                self._insert("event", created),
                keys[0][1],
            ],
            [
                keys[1][0],
                locked,
                self._update("return_authorization", {**row, "state": "approved"},
                             "state", "policy", "approvals", "version", "updated_at"),
                self._insert("event", approved),
                keys[1][1],
            ],
            [
                keys[2][0],
                locked,
                self._insert("receipt", rows["receipt"]),
                self._insert("receipt_line", rows["receipt_line"]),
                self._update("return_line", line, "accepted", "rejected", "inspecting"),
                self._insert("refund", [queued]),
                self._update("return_authorization", {**row, "state": "refunding"}, "state", "version", "updated_at"),
                self._insert("event", received),
                keys[2][1],
            ],
            [
                self._update("refund", {**refund, "status": "submitted", "lease_until": refund["updated_at"]},
                             "status", "lease_until", "lease_token", "attempts", "first_attempt_at"),
            ],
            [
                self._update("refund", refund,
                             "status", "stripe_refund", "stripe_created_at", "arrival", "lease_until",
                             "next_attempt_at", "updated_at"),
                self._update("return_authorization", row, "state", "version", "updated_at"),
                self._insert("event", answered),
            ],
        ]  # fmt: skip

    def _key(self, key: Mapping[str, Any]) -> tuple[Statement, Statement]:
        """Return what takes an idempotency key, and what keeps its answer."""
        taken = self._insert("idempotency_key", [{**key, "status": None, "body": None}])
        columns = ("status", "headers", "body")
        sets = ", ".join(f"{column} = {self._mark(at)}" for at, column in enumerate(columns, 1))
        where = f"scope = {self._mark(4)} AND key = {self._mark(5)}"
        values = (*(key[column] for column in columns), key["scope"], key["key"])
        return taken, Statement(f"UPDATE idempotency_key SET {sets} WHERE {where}", values)

    def _insert(self, table: str, rows: Rows) -> Statement:
        columns = list(rows[0])
        marks = iter(range(1, len(rows) * len(columns) + 1))
        tuples = ", ".join(f"({', '.join(self._mark(next(marks)) for _ in columns)})" for _ in rows)
        values = tuple(row[column] for row in rows for column in columns)
        return Statement(f"INSERT INTO {table} ({', '.join(columns)}) VALUES {tuples}", values)

    def _update(self, table: str, row: Mapping[str, Any], *columns: str) -> Statement:
        sets = ", ".join(f"{column} = {self._mark(at)}" for at, column in enumerate(columns, 1))
        values = (*(row[column] for column in columns), row["id"])
        return Statement(f"UPDATE {table} SET {sets} WHERE id = {self._mark(len(values))}", values)

    def _mark(self, number: int) -> str:
        return f"?{number}" if self._sqlite else f"${number}"
