"""The endpoints of the API.

Each handler first checks its parameters and then returns what is to be done. Between the two lies the line that
idempotency draws: a request refused before it may be sent again with the same key, one refused behind it may not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from . import objects, payments, refunds
from .form import Params, merged
from .ledger import EVENT_LIFE_SECONDS, Ledger
from .refusals import invalid, missing, refused
from .shelf import Json, Shelf, Span

Perform = Callable[[], Json]
Handler = Callable[[Ledger, Params, str], Perform]

MAX_AMOUNT = 99_999_999  # minor units; Stripe's limit for most currencies
MAX_TYPES = 20
PAGE = ("limit", "starting_after", "ending_before", "created")


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: where it is, what it takes, and the kind of object it answers with."""

    method: str
    template: str
    kind: str
    handler: Handler
    allowed: Sequence[str] = ()
    is_list: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its path looks like; the id is the only group."""
        return re.compile(self.template.replace("{id}", "([^/]+)"))


# --- payment intents --------------------------------------------------------------------------------------------


def create_payment_intent(ledger: Ledger, given: Params, _: str) -> Perform:
    """`POST /v1/payment_intents`."""
    amount = given.required_integer("amount", 1, MAX_AMOUNT)
    currency = given.required("currency").lower()
    if not re.fullmatch("[a-z]{3}", currency):
        raise invalid(f"Invalid currency: {currency}.", "currency")
    confirm = given.boolean("confirm") or False
    method = given.text("payment_method")
    manner = given.choice("capture_method", ("automatic", "automatic_async", "manual")) or "automatic"
    metadata = merged({}, given.metadata())
    texts = {name: given.text(name) for name in ("customer", "description", "receipt_email", "transfer_group")}

    def perform() -> Json:
        if method is not None:
            payments.known_method(ledger, method)
        return payments.create(
            ledger, amount, currency, method, confirm, capture_method=manner, metadata=metadata, **texts
        )

    return perform


def confirm_payment_intent(ledger: Ledger, given: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/confirm`."""
    method = given.text("payment_method")
    return lambda: payments.confirm(ledger, _row(ledger.payment_intents, name), method)


def capture_payment_intent(ledger: Ledger, given: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/capture`."""
    amount = given.integer("amount_to_capture", 1)
    return lambda: payments.capture(ledger, _row(ledger.payment_intents, name), amount)


# --- refunds ----------------------------------------------------------------------------------------------------


def create_refund(ledger: Ledger, given: Params, _: str) -> Perform:
    """`POST /v1/refunds`."""
    charge, intent = given.text("charge"), given.text("payment_intent")
    if charge is None and intent is None:
        words = "One of the following params should be provided for this request: payment_intent or charge."
        raise invalid(words, code="parameter_missing")
    if charge is not None and intent is not None:
        words = "You may only specify one of these parameters: charge, payment_intent."
        raise invalid(words, code="parameters_exclusive")
    amount = given.integer("amount", 1)
    reason = given.choice("reason", refunds.REASONS)
    metadata = merged({}, given.metadata())
    email = given.text("instructions_email")
    for name in ("refund_application_fee", "reverse_transfer"):
        if given.boolean(name):
            raise invalid(f"You can only pass {name} for a charge made through Connect.", name)
    if given.text("origin") is not None:
        raise invalid("Only a refund from a customer's cash balance has an origin.", "origin")

    def perform() -> Json:
        row = refunds.charge_to_refund(ledger, charge, intent)
        more = {} if email is None else {"instructions_email": email}
        return refunds.create(ledger, row, amount, reason, metadata, **more)

    return perform


def update_refund(ledger: Ledger, given: Params, name: str) -> Perform:
    """`POST /v1/refunds/{id}`."""
    found = given.metadata()

    def perform() -> Json:
        row = _row(ledger.refunds, name)
        return refunds.update(ledger, row, merged(row["metadata"], found))

    return perform


def cancel_refund(ledger: Ledger, given: Params, name: str) -> Perform:
    """`POST /v1/refunds/{id}/cancel`."""

    def perform() -> Json:
        row = _row(ledger.refunds, name)
        if row["status"] != "requires_action":
            raise refused(
                f"The refund {name} cannot be canceled: its status is {row['status']}, and only refunds with the "
                "status requires_action can be canceled."
            )
        refunds.cancel(ledger, row)
        return row

    return perform


def list_refunds(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/refunds`."""
    cursor, span = given.cursor(ledger.refunds), given.span()
    charge, intent = given.text("charge"), given.text("payment_intent")
    among: list[str] | None = None
    if charge is not None:
        _row(ledger.charges, charge, "charge")
        among = ledger.refunds_of.get(charge, [])
    if intent is not None:
        _row(ledger.payment_intents, intent, "payment_intent")
        charges = ledger.charges_of.get(intent, [])
        if charge is not None:
            among = among if charge in charges else []
        else:
            among = [name for one in charges for name in ledger.refunds_of.get(one, [])]
    return lambda: objects.page("/v1/refunds", *ledger.refunds.page(cursor, span, among=among))


# --- charges, disputes, events --------------------------------------------------------------------------------


def list_payment_intents(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/payment_intents`."""
    cursor, span, wanted = given.cursor(ledger.payment_intents), given.span(), _of_customer(given)
    return lambda: objects.page("/v1/payment_intents", *ledger.payment_intents.page(cursor, span, wanted))


def list_charges(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/charges`."""
    cursor, span, intent = given.cursor(ledger.charges), given.span(), given.text("payment_intent")
    among = None
    if intent is not None:
        _row(ledger.payment_intents, intent, "payment_intent")
        among = ledger.charges_of.get(intent, [])
    wanted = _of_customer(given)
    return lambda: objects.page("/v1/charges", *ledger.charges.page(cursor, span, wanted, among))


def list_disputes(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/disputes`."""
    cursor, span = given.cursor(ledger.disputes), given.span()
    charge, intent = given.text("charge"), given.text("payment_intent")

    def wanted(row: Json) -> bool:
        return charge in (None, row["charge"]) and intent in (None, row["payment_intent"])

    return lambda: objects.page("/v1/disputes", *ledger.disputes.page(cursor, span, wanted))


def list_events(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/events`, of the last 30 days."""
    cursor, span, delivered = given.cursor(ledger.events), given.span(), given.boolean("delivery_success")
    one, types = given.text("type"), given.texts("types")
    if one is not None and types:
        raise invalid("You may only specify one of these parameters: type, types.", code="parameters_exclusive")
    if len(types) > MAX_TYPES:
        raise invalid(f"You may only specify up to {MAX_TYPES} types.", "types")
    oldest = ledger.second() - EVENT_LIFE_SECONDS
    span = Span(max(oldest, span.first or 0), span.last)

    def wanted(row: Json) -> bool:
        if delivered is not None and delivered != (row["pending_webhooks"] == 0):
            return False
        if one is not None and not fnmatchcase(row["type"], one):
            return False
        return not types or row["type"] in types

    return lambda: objects.page("/v1/events", *ledger.events.page(cursor, span, wanted))


# --- the account ------------------------------------------------------------------------------------------------


def read_balance(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/balance`: what is available by now, and what still waits, in each currency (minor units)."""
    now = ledger.second()
    sums: dict[str, dict[str, int]] = {"available": defaultdict(int), "pending": defaultdict(int)}
    for line in ledger.balance_transactions:
        sums["available" if line["available_on"] <= now else "pending"][line["currency"]] += line["net"]
    currencies = sorted({*sums["available"], *sums["pending"]}) or ["usd"]

    def lines(kind: str) -> list[Json]:
        found = {currency: sums[kind][currency] for currency in currencies}
        return [{"amount": found[one], "currency": one, "source_types": {"card": found[one]}} for one in found]

    return lambda: {
        "object": "balance",
        "available": lines("available"),
        "livemode": False,
        "pending": lines("pending"),
    }


def read_account(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/account`."""
    return lambda: objects.account(ledger.account_id)


def create_webhook_endpoint(ledger: Ledger, given: Params, _: str) -> Perform:
    """`POST /v1/webhook_endpoints`; only this answer shows the secret."""
    url, wanted, version = given.required("url"), given.texts("enabled_events"), given.text("api_version")
    if not url.startswith(("http://", "https://")):
        raise invalid("Invalid URL: An explicit scheme (such as https) must be provided.", "url", "url_invalid")
    if not wanted:
        raise invalid("Missing required param: enabled_events.", "enabled_events", "parameter_missing")
    description, metadata = given.text("description"), merged({}, given.metadata())

    def perform() -> Json:
        endpoint = ledger.add_endpoint(
            url, None, wanted, api_version=version, description=description, metadata=metadata
        )
        return {**endpoint.row, "secret": endpoint.secret}

    return perform


def read_webhook_endpoint(ledger: Ledger, given: Params, name: str) -> Perform:
    """`GET /v1/webhook_endpoints/{id}`."""

    def perform() -> Json:
        if name not in ledger.endpoints:
            raise missing("webhook endpoint", name)
        return ledger.endpoints[name].row

    return perform


def list_webhook_endpoints(ledger: Ledger, given: Params, _: str) -> Perform:
    """`GET /v1/webhook_endpoints`."""
    shelf = Shelf("webhook_endpoint")
    for endpoint in ledger.endpoints.values():
        shelf.add(endpoint.row)
    cursor = given.cursor(shelf)
    return lambda: objects.page("/v1/webhook_endpoints", *shelf.page(cursor))


def _row(shelf: Shelf, name: str, param: str = "id") -> Json:
    row = shelf.get(name)
    if row is None:
        raise missing(shelf.kind, name, param)
    return row


def _of_customer(given: Params) -> Callable[[Json], bool]:
    customer = given.text("customer")
    return lambda row: customer in (None, row["customer"])


def _reader(shelf_of: Callable[[Ledger], Shelf]) -> Handler:
    def read(ledger: Ledger, given: Params, name: str) -> Perform:
        return lambda: _row(shelf_of(ledger), name)

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

ROUTES = (
    Route("POST", "/v1/payment_intents", "payment_intent", create_payment_intent, _INTENT_PARAMS),
    Route("GET", "/v1/payment_intents", "payment_intent", list_payment_intents, (*PAGE, "customer"), is_list=True),
    Route("GET", "/v1/payment_intents/{id}", "payment_intent", _reader(lambda b: b.payment_intents), ["client_secret"]),
    Route("POST", "/v1/payment_intents/{id}/confirm", "payment_intent", confirm_payment_intent, _CONFIRM_PARAMS),
    Route("POST", "/v1/payment_intents/{id}/capture", "payment_intent", capture_payment_intent, ["amount_to_capture"]),
    Route("GET", "/v1/charges", "charge", list_charges, (*PAGE, "payment_intent", "customer"), is_list=True),
    Route("GET", "/v1/charges/{id}", "charge", _reader(lambda book: book.charges)),
    Route("POST", "/v1/refunds", "refund", create_refund, _REFUND_PARAMS),
    Route("GET", "/v1/refunds", "refund", list_refunds, (*PAGE, "charge", "payment_intent"), is_list=True),
    Route("GET", "/v1/refunds/{id}", "refund", _reader(lambda book: book.refunds)),
    Route("POST", "/v1/refunds/{id}", "refund", update_refund, ["metadata"]),
    Route("POST", "/v1/refunds/{id}/cancel", "refund", cancel_refund),
    Route("GET", "/v1/disputes", "dispute", list_disputes, (*PAGE, "charge", "payment_intent"), is_list=True),
    Route("GET", "/v1/disputes/{id}", "dispute", _reader(lambda book: book.disputes)),
    Route("GET", "/v1/events", "event", list_events, (*PAGE, "type", "types", "delivery_success"), is_list=True),
    Route("GET", "/v1/events/{id}", "event", _reader(lambda book: book.events)),
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
