"""What is committed, as the eye sees it: each table read once for each state of the database."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from returns_service.domain.policy import Policy
from returns_service.return_case.case import ReturnCase

Row = Any  # a row of a table, as a namespace: its columns are its attributes
JSON_COLUMNS = frozenset("breakdown parameters policy approvals accepted rejected failure data dispute".split())
PARTS = ("return_line", "receipt", "undeclared_item")  # of a return


class Committed:
    """The committed rows of one world. A row that nobody changed stays the same object; nobody may change one."""

    def __init__(self, eye: sqlite3.Connection) -> None:
        self.eye = eye
        self._version = -1
        self._tables: dict[str, list[Row]] = {}  # as of that version
        self._known: dict[str, dict[int, tuple[tuple[Any, ...], Row]]] = defaultdict(dict)  # table -> by rowid

    def version(self) -> int:
        """Return a number that changes with each commit."""
        return int(self.eye.execute("PRAGMA data_version").fetchone()[0])

    def rows(self, table: str) -> list[Row]:
        """Return the committed rows of a table in the order of their insertion."""
        version = self.version()
        if version != self._version:
            self._tables.clear()
            self._version = version
        if table not in self._tables:
            self._tables[table] = self._read(table)
        return list(self._tables[table])

    def rows_after(self, table: str, place: int) -> list[Row]:
        """Return the rows that were inserted after that rowid."""
        return [_row(found) for found in self._select(table, place)]

    def cases(self, policy: Policy) -> list[ReturnCase]:
        """Return every return with all that decides about it."""
        payments = {row.id: row for row in self.rows("payment")}
        refunds, counts = by("payment_id", self.rows("refund")), by("receipt_id", self.rows("receipt_line"))
        lines, receipts, undeclared = (by("return_id", self.rows(table)) for table in PARTS)
        cases, same = list[ReturnCase](), defaultdict[str, list[ReturnCase]](list)  # `same`: by payment
        for row in self.rows("return_authorization"):
            case = ReturnCase(
                policy,
                payments[row.payment_id],
                row,
                sorted(lines[row.id], key=lambda line: int(line.position)),
                # In the service's order: a clock set back makes ids that come before those of older rows.
                sorted(refunds[row.payment_id], key=lambda refund: str(refund.id)),
            )
            case.receipts = receipts[row.id]
            case.receipt_lines = [count for receipt in case.receipts for count in counts[receipt.id]]
            case.undeclared = undeclared[row.id]
            cases.append(case)
            same[row.payment_id].append(case)
        for case in cases:
            case.payment_returns = [one for one in same[case.row.payment_id] if one is not case]
        return cases

    def _read(self, table: str) -> list[Row]:
        before, rows = self._known[table], list[Row]()
        for found in self._select(table, 0):
            values, (seen, row) = tuple(found), before.get(found["place"], (None, None))
            if values != seen:
                row = _row(found)
                before[found["place"]] = values, row
            rows.append(row)
        return rows

    def _select(self, table: str, place: int) -> list[sqlite3.Row]:
        sql = f"SELECT rowid AS place, * FROM {table} WHERE rowid > ? ORDER BY rowid"  # noqa: S608 - our own names
        return self.eye.execute(sql, (place,)).fetchall()


def _row(found: sqlite3.Row) -> Row:
    row = SimpleNamespace(**found)
    for name in JSON_COLUMNS & row.__dict__.keys():
        if isinstance(text := getattr(row, name), str):
            setattr(row, name, json.loads(text))
    return row


def by(key: str, rows: list[Row]) -> dict[str, list[Row]]:
    """Return rows by what they have in a column; nothing for what none has."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[getattr(row, key)].append(row)
    return found
