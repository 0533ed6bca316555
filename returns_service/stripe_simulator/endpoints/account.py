"""`/v1/account`, `/v1/balance` and `/v1/events` (docs.stripe.com/api/events)."""

from __future__ import annotations

from collections import defaultdict
from fnmatch import fnmatchcase

from .. import objects
from ..collection import Json, Span
from ..form import Params
from ..ledger import EVENT_LIFE_SECONDS, Ledger
from ..refusals import param_error
from .route import PAGE, Perform, Route, make_reader

MAX_TYPES = 20


def list_events(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/events`, of the last 30 days."""
    cursor, span = params.get_cursor(ledger.events), params.get_span()
    delivered = params.get_boolean("delivery_success")
    one, types = params.get_text("type"), params.get_texts("types")
    if one is not None and types:
        raise param_error("You may only specify one of these parameters: type, types.", code="parameters_exclusive")
    if len(types) > MAX_TYPES:
        raise param_error(f"You may only specify up to {MAX_TYPES} types.", "types")
    oldest = ledger.second() - EVENT_LIFE_SECONDS
    span = Span(max(oldest, span.first or 0), span.last)

    def matches(row: Json) -> bool:
        if delivered is not None and delivered != (row["pending_webhooks"] == 0):
            return False
        if one is not None and not fnmatchcase(row["type"], one):
            return False
        return not types or row["type"] in types

    return lambda: objects.build_list("/v1/events", *ledger.events.get_page(cursor, span, matches))


def read_balance(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/balance`: the available and the pending money in each currency, in minor units."""
    now = ledger.second()
    sums: dict[str, dict[str, int]] = {"available": defaultdict(int), "pending": defaultdict(int)}
    for line in ledger.balance_transactions:
        sums["available" if line["available_on"] <= now else "pending"][line["currency"]] += line["net"]
    currencies = sorted({*sums["available"], *sums["pending"]}) or ["usd"]

    def build_lines(kind: str) -> list[Json]:
        amounts = {currency: sums[kind][currency] for currency in currencies}
        return [{"amount": amounts[one], "currency": one, "source_types": {"card": amounts[one]}} for one in amounts]

    return lambda: {
        "object": "balance",
        "available": build_lines("available"),
        "livemode": False,
        "pending": build_lines("pending"),
    }


def read_account(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/account`."""
    return lambda: objects.build_account(ledger.account_id)


ROUTES = (
    Route("GET", "/v1/events", "event", list_events, (*PAGE, "type", "types", "delivery_success"), is_list=True),
    Route("GET", "/v1/events/{id}", "event", make_reader(lambda ledger: ledger.events)),
    Route("GET", "/v1/balance", "balance", read_balance),
    Route("GET", "/v1/account", "account", read_account),
)
