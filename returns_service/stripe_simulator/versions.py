"""API versions: their dates, and the older shapes of objects and events (docs.stripe.com/changelog)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import objects
from .collection import Json, copy_json
from .refusals import Refusal

if TYPE_CHECKING:
    from .ledger import Ledger

API_VERSION = "2026-10-28.endive"

REFUND_OF_RELEASE_ENDS = "2025-03-31"  # basil: neither a partial capture nor a cancellation creates a Refund any more
REFUNDS_LEAVE_CHARGE = "2022-11-15"  # a charge loses `refunds`; a PaymentIntent gets `latest_charge` for `charges`
REQUEST_IS_OBJECT = "2017-05-25"  # an event's `request` has an id and an idempotency key; before, it is only the id

_VERSION = re.compile(r"\d{4}-\d\d-\d\d(?:\.[a-z]+)?")


def check_version(version: str) -> str:
    """Return `version` if it looks like an API version; refuse it otherwise."""
    if not _VERSION.fullmatch(version):
        raise Refusal(400, f"Invalid Stripe API version: {version}", stored=False)
    return version


def is_before(version: str, date: str) -> bool:
    """Return whether `version` is older than the version of `date` (`2025-03-31`)."""
    return version[:10] < date


def render_object(ledger: Ledger, row: Any, version: str) -> Any:
    """Return a JSON value with its charges and PaymentIntents in the shape of `version`."""
    if not is_before(version, REFUNDS_LEAVE_CHARGE):
        return row
    if isinstance(row, list):
        return [render_object(ledger, part, version) for part in row]
    if not isinstance(row, dict):
        return row
    old = {name: render_object(ledger, part, version) for name, part in row.items()}
    if old.get("object") == "charge" and "refunds" not in old:
        old["refunds"] = _build_list(f"/v1/charges/{old['id']}/refunds", ledger.find_refunds(old["id"]))
    if old.get("object") == "payment_intent":
        del old["latest_charge"]
        charges = render_object(ledger, ledger.find_charges(old["id"]), version)
        old["charges"] = _build_list(f"/v1/charges?payment_intent={old['id']}", charges)
    return old


def render_event(ledger: Ledger, event: Json, version: str) -> Json:
    """Return `event` as an endpoint pinned to `version` receives it."""
    row = render_object(ledger, event["data"]["object"], version)
    old = {**event, "api_version": version, "data": {**event["data"], "object": row}}
    if is_before(version, REQUEST_IS_OBJECT):
        old["request"] = event["request"]["id"]
    return old


def _build_list(url: str, rows: list[Json]) -> Json:
    """Return the list that an old object embeds; `rows` are the oldest first, the list is the newest first."""
    newest = copy_json(rows[: -objects.EMBEDDED_ROWS - 1 : -1])
    return {**objects.build_list(url, newest, len(rows) > len(newest)), "total_count": len(rows)}
