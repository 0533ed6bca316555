"""`expand[]`: ids replaced by the objects they name, as deep as asked."""

from __future__ import annotations

from typing import Any

from . import objects
from .ledger import Ledger
from .refusals import invalid
from .shelf import Json, Shelf

MAX_DEPTH = 4
REFUNDS_SHOWN = 10  # of a charge, newest first

_EXPANDABLE: dict[str, dict[str, str | None]] = {  # kind -> field -> kind found there; None: always null here
    "payment_intent": {"latest_charge": "charge", "customer": None, "review": None, "on_behalf_of": None},
    "charge": {
        "payment_intent": "payment_intent", "balance_transaction": "balance_transaction", "refunds": "refund",
        "customer": None, "review": None, "application_fee": None, "failure_balance_transaction": None,
    },
    "refund": {
        "charge": "charge", "payment_intent": "payment_intent", "balance_transaction": "balance_transaction",
        "failure_balance_transaction": "balance_transaction", "customer": None, "transfer_reversal": None,
        "source_transfer_reversal": None,
    },
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
}  # fmt: skip


def checked(kind: str, is_list: bool, paths: list[str]) -> list[list[str]]:
    """Return the paths to expand from an object of `kind`, in steps; refuses those that lead nowhere."""
    found = []
    for place, path in enumerate(paths):
        steps = path.split(".")
        if is_list:
            if steps[0] != "data" or len(steps) == 1:
                raise _refused(path, place)
            steps = steps[1:]
        if len(steps) > MAX_DEPTH:
            raise invalid(f"You cannot expand more than {MAX_DEPTH} levels of a property", f"expand[{place}]")
        at: str | None = kind
        inside_list = False
        for step in steps:
            if inside_list and step == "data":
                inside_list = False
                continue
            fields = _EXPANDABLE.get(at or "", {})
            if step not in fields or inside_list:
                raise _refused(path, place)
            at, inside_list = fields[step], step == "refunds"
        found.append(steps)
    return found


def _refused(path: str, place: int) -> Exception:
    return invalid(f"This property cannot be expanded ({path}).", f"expand[{place}]")


def expanded(ledger: Ledger, row: Json, paths: list[list[str]]) -> Json:
    """Return `row` with its `paths` expanded; the row itself stays as it is."""
    if row.get("object") == objects.LIST_OBJECT:
        return {**row, "data": [expanded(ledger, part, paths) for part in row["data"]]}
    shown = dict(row)
    for step in dict.fromkeys(path[0] for path in paths):
        below = [path[1:] for path in paths if path[0] == step and len(path) > 1]
        shown[step] = _found(ledger, shown, step)
        if shown[step] is None and step not in row:
            del shown[step]
        elif isinstance(shown[step], dict) and below:
            inner = [path[1:] if step == "refunds" else path for path in below]
            shown[step] = expanded(ledger, shown[step], [path for path in inner if path])
    return shown


def _found(ledger: Ledger, row: Json, field: str) -> Any:
    kind = _EXPANDABLE.get(row["object"], {}).get(field)
    if kind is None:
        return row.get(field)
    if field == "refunds":
        names = ledger.refunds_of.get(row["id"], [])
        rows = [ledger.refunds[name] for name in reversed(names[-REFUNDS_SHOWN:])]
        return objects.page(f"/v1/charges/{row['id']}/refunds", rows, len(names) > REFUNDS_SHOWN)
    name = row.get(field)
    return _shelves(ledger)[kind].get(name) if isinstance(name, str) else name


def _shelves(ledger: Ledger) -> dict[str, Shelf]:
    return {
        "payment_intent": ledger.payment_intents,
        "charge": ledger.charges,
        "refund": ledger.refunds,
        "balance_transaction": ledger.balance_transactions,
    }
