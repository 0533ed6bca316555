"""`expand[]` replaces ids by the objects they name, to any depth allowed (docs.stripe.com/api/expanding_objects)."""

from __future__ import annotations

from typing import Any

from . import objects
from .collection import Collection, Json
from .ledger import Ledger
from .refusals import Refusal, param_error

MAX_DEPTH = 4
REFUNDS_IN_CHARGE = 10  # an expanded charge holds that many refunds, the newest first

_EXPANDABLE: dict[str, dict[str, str | None]] = {  # kind -> field -> kind of the object there; None: always null
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
    if row.get("object") == objects.LIST_OBJECT:
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
        names = ledger.refunds_of.get(row["id"], [])
        rows = [ledger.refunds[name] for name in reversed(names[-REFUNDS_IN_CHARGE:])]
        return objects.build_list(f"/v1/charges/{row['id']}/refunds", rows, len(names) > REFUNDS_IN_CHARGE)
    name = row.get(field)
    return _collections(ledger)[kind].get(name) if isinstance(name, str) else name


def _collections(ledger: Ledger) -> dict[str, Collection]:
    return {
        "payment_intent": ledger.payment_intents,
        "charge": ledger.charges,
        "refund": ledger.refunds,
        "balance_transaction": ledger.balance_transactions,
    }
