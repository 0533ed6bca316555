"""The endpoints of the API.

Each handler checks its parameters and returns a function that performs the call. Idempotency lies between the two: a
caller may send a request again with the same key if the check refused it, but not if the performance refused it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from . import objects, payments, refunds
from .collection import Collection, Json, Span
from .form import Params, merge_metadata
from .ledger import EVENT_LIFE_SECONDS, Ledger
from .refusals import not_found_error, param_error, state_error

Perform = Callable[[], Json]
Handler = Callable[[Ledger, Params, str], Perform]

MAX_AMOUNT = 99_999_999  # minor units; Stripe's limit for most currencies
MAX_TYPES = 20
PAGE = ("limit", "starting_after", "ending_before", "created")


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: its address, its parameters, and the kind of object in its answer."""

    method: str
    template: str
    kind: str
    handler: Handler
    allowed: Sequence[str] = ()
    is_list: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """A pattern that matches its path; the id is the only group."""
        return re.compile(self.template.replace("{id}", "([^/]+)"))


# --- payment intents --------------------------------------------------------------------------------------------


def create_payment_intent(ledger: Ledger, params: Params, _: str) -> Perform:
    """`POST /v1/payment_intents`."""
    amount = params.require_integer("amount", 1, MAX_AMOUNT)
    currency = params.require_text("currency").lower()
    if not re.fullmatch("[a-z]{3}", currency):
        raise param_error(f"Invalid currency: {currency}.", "currency")
    confirm = params.get_boolean("confirm") or False
    method = params.get_text("payment_method")
    manner = params.get_choice("capture_method", ("automatic", "automatic_async", "manual")) or "automatic"
    metadata = merge_metadata({}, params.get_metadata())
    texts = {name: params.get_text(name) for name in ("customer", "description", "receipt_email", "transfer_group")}

    def perform() -> Json:
        if method is not None:
            payments.check_method(ledger, method)
        return payments.create(
            ledger, amount, currency, method, confirm, capture_method=manner, metadata=metadata, **texts
        )

    return perform


def confirm_payment_intent(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/confirm`."""
    method = params.get_text("payment_method")
    return lambda: payments.confirm(ledger, _find_row(ledger.payment_intents, name), method)


def capture_payment_intent(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/capture`."""
    amount = params.get_integer("amount_to_capture", 1)
    return lambda: payments.capture(ledger, _find_row(ledger.payment_intents, name), amount)


# --- refunds ----------------------------------------------------------------------------------------------------


def create_refund(ledger: Ledger, params: Params, _: str) -> Perform:
    """`POST /v1/refunds`."""
    charge, intent = params.get_text("charge"), params.get_text("payment_intent")
    if charge is None and intent is None:
        words = "One of the following params should be provided for this request: payment_intent or charge."
        raise param_error(words, code="parameter_missing")
    if charge is not None and intent is not None:
        words = "You may only specify one of these parameters: charge, payment_intent."
        raise param_error(words, code="parameters_exclusive")
    amount = params.get_integer("amount", 1)
    reason = params.get_choice("reason", refunds.REASONS)
    metadata = merge_metadata({}, params.get_metadata())
    email = params.get_text("instructions_email")
    for name in ("refund_application_fee", "reverse_transfer"):
        if params.get_boolean(name):
            raise param_error(f"You can only pass {name} for a charge made through Connect.", name)
    if params.get_text("origin") is not None:
        raise param_error("Only a refund from a customer's cash balance has an origin.", "origin")

    def perform() -> Json:
        row = refunds.find_charge_to_refund(ledger, charge, intent)
        more = {} if email is None else {"instructions_email": email}
        return refunds.create(ledger, row, amount, reason, metadata, **more)

    return perform


def update_refund(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/refunds/{id}`."""
    changes = params.get_metadata()

    def perform() -> Json:
        row = _find_row(ledger.refunds, name)
        return refunds.update(ledger, row, merge_metadata(row["metadata"], changes))

    return perform


def cancel_refund(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/refunds/{id}/cancel`."""

    def perform() -> Json:
        row = _find_row(ledger.refunds, name)
        if row["status"] != "requires_action":
            raise state_error(
                f"The refund {name} cannot be canceled: its status is {row['status']}, and only refunds with the "
                "status requires_action can be canceled."
            )
        refunds.cancel(ledger, row)
        return row

    return perform


def list_refunds(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/refunds`."""
    cursor, span = params.get_cursor(ledger.refunds), params.get_span()
    charge, intent = params.get_text("charge"), params.get_text("payment_intent")
    among: list[str] | None = None
    if charge is not None:
        _find_row(ledger.charges, charge, "charge")
        among = ledger.refunds_of.get(charge, [])
    if intent is not None:
        _find_row(ledger.payment_intents, intent, "payment_intent")
        charges = ledger.charges_of.get(intent, [])
        if charge is not None:
            among = among if charge in charges else []
        else:
            among = [name for one in charges for name in ledger.refunds_of.get(one, [])]
    return lambda: objects.build_list("/v1/refunds", *ledger.refunds.get_page(cursor, span, among=among))


# --- charges, disputes, events --------------------------------------------------------------------------------


def list_payment_intents(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/payment_intents`."""
    cursor, span, matches = params.get_cursor(ledger.payment_intents), params.get_span(), _match_customer(params)
    return lambda: objects.build_list("/v1/payment_intents", *ledger.payment_intents.get_page(cursor, span, matches))


def list_charges(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/charges`."""
    cursor, span, intent = params.get_cursor(ledger.charges), params.get_span(), params.get_text("payment_intent")
    among = None
    if intent is not None:
        _find_row(ledger.payment_intents, intent, "payment_intent")
        among = ledger.charges_of.get(intent, [])
    matches = _match_customer(params)
    return lambda: objects.build_list("/v1/charges", *ledger.charges.get_page(cursor, span, matches, among))


def list_disputes(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/disputes`."""
    cursor, span = params.get_cursor(ledger.disputes), params.get_span()
    charge, intent = params.get_text("charge"), params.get_text("payment_intent")

    def matches(row: Json) -> bool:
        return charge in (None, row["charge"]) and intent in (None, row["payment_intent"])

    return lambda: objects.build_list("/v1/disputes", *ledger.disputes.get_page(cursor, span, matches))


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


# --- the account ------------------------------------------------------------------------------------------------


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


def create_webhook_endpoint(ledger: Ledger, params: Params, _: str) -> Perform:
    """`POST /v1/webhook_endpoints`; only this answer shows the secret."""
    url, event_types = params.require_text("url"), params.get_texts("enabled_events")
    version = params.get_text("api_version")
    if not url.startswith(("http://", "https://")):
        raise param_error("Invalid URL: An explicit scheme (such as https) must be provided.", "url", "url_invalid")
    if not event_types:
        raise param_error("Missing required param: enabled_events.", "enabled_events", "parameter_missing")
    description, metadata = params.get_text("description"), merge_metadata({}, params.get_metadata())

    def perform() -> Json:
        endpoint = ledger.add_endpoint(
            url, None, event_types, api_version=version, description=description, metadata=metadata
        )
        return {**endpoint.row, "secret": endpoint.secret}

    return perform


def read_webhook_endpoint(ledger: Ledger, params: Params, name: str) -> Perform:
    """`GET /v1/webhook_endpoints/{id}`."""

    def perform() -> Json:
        if name not in ledger.endpoints:
            raise not_found_error("webhook endpoint", name)
        return ledger.endpoints[name].row

    return perform


def list_webhook_endpoints(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/webhook_endpoints`."""
    collection = Collection("webhook_endpoint")
    for endpoint in ledger.endpoints.values():
        collection.add(endpoint.row)
    cursor = params.get_cursor(collection)
    return lambda: objects.build_list("/v1/webhook_endpoints", *collection.get_page(cursor))


def _find_row(collection: Collection, name: str, param: str = "id") -> Json:
    row = collection.get(name)
    if row is None:
        raise not_found_error(collection.kind, name, param)
    return row


def _match_customer(params: Params) -> Callable[[Json], bool]:
    customer = params.get_text("customer")
    return lambda row: customer in (None, row["customer"])


def _make_reader(collection_of: Callable[[Ledger], Collection]) -> Handler:
    def read(ledger: Ledger, params: Params, name: str) -> Perform:
        return lambda: _find_row(collection_of(ledger), name)

    return read


_INTENT_PARAMS = (
    "amount amount_details application_fee_amount automatic_payment_methods capture_method confirm "
    "confirmation_method confirmation_token currency customer customer_account description "
    "error_on_requires_action mandate mandate_data metadata off_session on_behalf_of payment_details "
    "payment_method payment_method_configuration payment_method_data payment_method_options payment_method_types "
    "radar_options receipt_email return_url setup_future_usage shipping statement_descriptor "
    "statement_descriptor_suffix transfer_data transfer_group use_stripe_sdk"
).split()
_CONFIRM_PARAMS = "payment_method return_url off_session mandate mandate_data use_stripe_sdk receipt_email".split()
_REFUND_PARAMS = (
    "amount charge currency customer instructions_email metadata origin payment_intent reason "
    "refund_application_fee reverse_transfer"
).split()

read_payment_intent = _make_reader(lambda ledger: ledger.payment_intents)

ROUTES = (
    Route("POST", "/v1/payment_intents", "payment_intent", create_payment_intent, _INTENT_PARAMS),
    Route("GET", "/v1/payment_intents", "payment_intent", list_payment_intents, (*PAGE, "customer"), is_list=True),
    Route("GET", "/v1/payment_intents/{id}", "payment_intent", read_payment_intent, ["client_secret"]),
    Route("POST", "/v1/payment_intents/{id}/confirm", "payment_intent", confirm_payment_intent, _CONFIRM_PARAMS),
    Route("POST", "/v1/payment_intents/{id}/capture", "payment_intent", capture_payment_intent, ["amount_to_capture"]),
    Route("GET", "/v1/charges", "charge", list_charges, (*PAGE, "payment_intent", "customer"), is_list=True),
    Route("GET", "/v1/charges/{id}", "charge", _make_reader(lambda ledger: ledger.charges)),
    Route("POST", "/v1/refunds", "refund", create_refund, _REFUND_PARAMS),
    Route("GET", "/v1/refunds", "refund", list_refunds, (*PAGE, "charge", "payment_intent"), is_list=True),
    Route("GET", "/v1/refunds/{id}", "refund", _make_reader(lambda ledger: ledger.refunds)),
    Route("POST", "/v1/refunds/{id}", "refund", update_refund, ["metadata"]),
    Route("POST", "/v1/refunds/{id}/cancel", "refund", cancel_refund),
    Route("GET", "/v1/disputes", "dispute", list_disputes, (*PAGE, "charge", "payment_intent"), is_list=True),
    Route("GET", "/v1/disputes/{id}", "dispute", _make_reader(lambda ledger: ledger.disputes)),
    Route("GET", "/v1/events", "event", list_events, (*PAGE, "type", "types", "delivery_success"), is_list=True),
    Route("GET", "/v1/events/{id}", "event", _make_reader(lambda ledger: ledger.events)),
    Route("GET", "/v1/balance", "balance", read_balance),
    Route("GET", "/v1/account", "account", read_account),
    Route(
        "POST", "/v1/webhook_endpoints", "webhook_endpoint", create_webhook_endpoint,
        ["url", "enabled_events", "api_version", "description", "metadata"],
    ),
    Route("GET", "/v1/webhook_endpoints", "webhook_endpoint", list_webhook_endpoints, PAGE, is_list=True),
    Route("GET", "/v1/webhook_endpoints/{id}", "webhook_endpoint", read_webhook_endpoint),
)  # fmt: skip

_TABLE = [(route, route.pattern) for route in ROUTES]


def find(method: str, path: str) -> tuple[Route, str] | None:
    """Return the endpoint at `path` and the id in it ('' if none)."""
    for route, pattern in _TABLE:
        if route.method == method:
            match = pattern.fullmatch(path)
            if match is not None:
                return route, match[1] if match.groups() else ""
    return None
