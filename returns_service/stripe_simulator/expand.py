"""`expand[]` replaces ids by the objects they name, to any depth allowed (docs.stripe.com/api/expanding_objects)."""

from __future__ import annotations

from typing import Any

from . import objects
from .collection import Collection, Json
from .ledger import Ledger
from .refusals import Refusal, param_error

MAX_DEPTH = 4

_EXPANDABLE: dict[str, dict[str, str | None]] = {  # kind -> field -> kind of the object there; None: always null
    "payment_intent": {
        "latest_charge": "charge", "customer": "customer", "payment_method": "payment_method", "review": None,
        "on_behalf_of": None,
    },
    "charge": {
        "payment_intent": "payment_intent", "balance_transaction": "balance_transaction", "refunds": "refund",
        "customer": "customer", "review": None, "application_fee": None, "failure_balance_transaction": None,
    },
    "refund": {
        "charge": "charge", "payment_intent": "payment_intent", "balance_transaction": "balance_transaction",
        "failure_balance_transaction": "balance_transaction", "customer": None, "transfer_reversal": None,
        "source_transfer_reversal": None,
    },
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
    "balance_transaction": {"source": "source"},
    "payment_method": {"customer": "customer"},
}  # fmt: skip


def parse_paths(kind: str, is_list: bool, paths: list[str]) -> list[list[str]]:
    """Return the paths to expand from an object of `kind`, each as its steps. Refuses a path that leads nowhere."""
    parsed = []
    for place, path in enumerate(paths):
        steps = path.split(".")
        if is_list:
            if steps[0] != "data" or len(steps) == 1:
                raise _path_error(path, place)
            steps = steps[1:]
        if len(steps) > MAX_DEPTH:
            raise param_error(f"You cannot expand more than {MAX_DEPTH} levels of a property", f"expand[{place}]")
        at: str | None = kind
        inside_list = False
        for step in steps:
            if inside_list and step == "data":
                inside_list = False
                continue
            fields = _EXPANDABLE.get(at or "", {})
            if step not in fields or inside_list:
                raise _path_error(path, place)
            at, inside_list = fields[step], step == "refunds"
        parsed.append(steps)
    return parsed


def _path_error(path: str, place: int) -> Refusal:
    return param_error(f"This property cannot be expanded ({path}).", f"expand[{place}]")


def expand(ledger: Ledger, row: Json, paths: list[list[str]]) -> Json:
    """Return a copy of `row` with its `paths` expanded."""
    if row.get("object") in objects.LIST_OBJECTS:
        return {**row, "data": [expand(ledger, part, paths) for part in row["data"]]}
    copy = dict(row)
    for step in dict.fromkeys(path[0] for path in paths):
        below = [path[1:] for path in paths if path[0] == step and len(path) > 1]
        copy[step] = _find_object(ledger, copy, step)
        if copy[step] is None and step not in row:
            del copy[step]
        elif isinstance(copy[step], dict) and below:
            inner = [path[1:] if step == "refunds" else path for path in below]
            copy[step] = expand(ledger, copy[step], [path for path in inner if path])
    return copy


def _find_object(ledger: Ledger, row: Json, field: str) -> Any:
    kind = _EXPANDABLE.get(row["object"], {}).get(field)
    if kind is None:
        return row.get(field)
    if field == "refunds":
        rows = ledger.find_refunds(row["id"])
        page = rows[: -objects.EMBEDDED_ROWS - 1 : -1]
        return objects.build_list(f"/v1/charges/{row['id']}/refunds", page, len(rows) > objects.EMBEDDED_ROWS)
    name = row.get(field)
    if not isinstance(name, str):
        return name
    if kind == "source":  # of a balance transaction: a charge, a refund or a dispute
        return ledger.charges.get(name) or ledger.refunds.get(name) or ledger.disputes.get(name)
    return _get_collections(ledger)[kind].get(name)


def find_kinds(kind: str, paths: list[list[str]]) -> set[str]:
    """Return the kinds of the objects that `paths` expand from an object of `kind`."""
    kinds = set()
    for path in paths:
        at: str | None = kind
        for step in path:
            at = at if step == "data" else _EXPANDABLE.get(at or "", {}).get(step)
            kinds.add(at)
    return {name for name in kinds if name is not None} - {"source"}


def _get_collections(ledger: Ledger) -> dict[str, Collection]:
    return {
        "payment_intent": ledger.payment_intents,
        "charge": ledger.charges,
        "refund": ledger.refunds,
        "balance_transaction": ledger.balance_transactions,
        "customer": ledger.customers,
        "payment_method": ledger.payment_methods,
    }
