"""`/v1/payment_intents` (docs.stripe.com/api/payment_intents)."""

from __future__ import annotations

from .. import captures, payments, search
from ..collection import Json
from ..currencies import check_currency, check_minimum, check_step
from ..form import Form, Params, merge_metadata
from ..ledger import Ledger
from ..methods import TYPES
from ..refusals import param_error
from .route import PAGE, Perform, Route, find_row, make_lister, make_reader

MAX_AMOUNT = 99_999_999  # minor units; Stripe's limit for most currencies
TEXTS = ("customer", "description", "receipt_email", "transfer_group")
CARD_REQUESTS = ("request_multicapture", "request_incremental_authorization")


def create(ledger: Ledger, params: Params, _: str) -> Perform:
    """`POST /v1/payment_intents`."""
    amount = params.require_integer("amount", 1, MAX_AMOUNT)
    currency = _parse_currency(params.require_text("currency"))
    check_step(amount, currency)
    check_minimum(amount, currency)
    confirm = params.get_boolean("confirm") or False
    method = _get_method(params)
    capture_method = params.get_choice("capture_method", ("automatic", "automatic_async", "manual")) or "automatic"
    more = {"metadata": merge_metadata({}, params.get_metadata()), **{name: params.get_text(name) for name in TEXTS}}
    options = _get_options(params)

    def perform() -> Json:
        if method is not None:
            payments.check_method(ledger, method)
        if more["customer"] is not None:
            find_row(ledger.customers, str(more["customer"]), "customer")
        return payments.create(
            ledger, amount, currency, method, confirm,
            capture_method=capture_method, payment_method_options=options, **more,
        )  # fmt: skip

    return perform


def update(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}`."""
    amount, currency = params.get_integer("amount", 1, MAX_AMOUNT), params.get_text("currency")
    method = _get_method(params)
    metadata = params.get_metadata()
    changes: Json = {field: params.get_text(field) for field in TEXTS}
    changes |= {"amount": amount, "currency": currency and _parse_currency(currency), "payment_method": method}

    def perform() -> Json:
        intent = find_row(ledger.payment_intents, name)
        if method is not None:
            payments.check_method(ledger, method)
        present = {field: value for field, value in changes.items() if value is not None}
        return payments.update(ledger, intent, {**present, "metadata": merge_metadata(intent["metadata"], metadata)})

    return perform


def confirm(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/confirm`."""
    method, options = _get_method(params), _get_options(params)
    return lambda: payments.confirm(ledger, find_row(ledger.payment_intents, name), method, options)


def capture(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/capture`."""
    amount, metadata = params.get_integer("amount_to_capture", 1), params.get_metadata()
    final = params.get_boolean("final_capture") is not False

    def perform() -> Json:
        intent = find_row(ledger.payment_intents, name)
        merged = merge_metadata(intent["metadata"], metadata)
        captures.capture(ledger, intent, amount, final=final, metadata=merged)
        return intent

    return perform


def cancel(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/cancel`."""
    reason = params.get_choice("cancellation_reason", captures.CANCELLATION_REASONS)
    return lambda: captures.cancel(ledger, find_row(ledger.payment_intents, name), reason)


def increment(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/payment_intents/{id}/increment_authorization`; `amount` is the new total, in minor units."""
    amount = params.require_integer("amount", 1, MAX_AMOUNT)

    def perform() -> Json:
        intent = find_row(ledger.payment_intents, name)
        check_step(amount, intent["currency"])
        return captures.increment(ledger, intent, amount)

    return perform


def _parse_currency(text: str) -> str:
    currency = text.lower()
    check_currency(currency)
    return currency


def _get_method(params: Params) -> str | None:
    """Return `payment_method`, or the simulator's test method for `payment_method_data[type]`."""
    method, data = params.get_text("payment_method"), params.get_object("payment_method_data")
    if data is None:
        return method
    if method is not None:
        words = "You may only specify one of these parameters: payment_method, payment_method_data."
        raise param_error(words, code="parameters_exclusive")
    kind = data.get("type")
    if kind not in TYPES:
        words = f"Invalid payment_method_data[type]: must be one of {', '.join(TYPES)}"
        raise param_error(words, "payment_method_data[type]")
    return "pm_card_visa" if kind == "card" else f"pm_{kind}"


def _get_options(params: Params) -> Json:
    """Return the part of `payment_method_options` that the simulator knows: the requests for a card."""
    options = params.get_object("payment_method_options") or {}
    card = options.get("card", {})
    if not isinstance(card, dict):
        raise param_error("Invalid object", "payment_method_options[card]")
    known: Form = {}
    for name in CARD_REQUESTS:
        if name in card:
            if card[name] not in ("if_available", "never"):
                words = f"Invalid {name}: must be one of if_available, or never"
                raise param_error(words, f"payment_method_options[card][{name}]")
            known[name] = card[name]
    base = {"installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
    return {"card": {**base, **known}} if known else {}


_CREATE = (
    "amount amount_details application_fee_amount automatic_payment_methods capture_method confirm "
    "confirmation_method confirmation_token currency customer customer_account description "
    "error_on_requires_action mandate mandate_data metadata off_session on_behalf_of payment_details "
    "payment_method payment_method_configuration payment_method_data payment_method_options payment_method_types "
    "radar_options receipt_email return_url setup_future_usage shipping statement_descriptor "
    "statement_descriptor_suffix transfer_data transfer_group use_stripe_sdk"
).split()
_UPDATE = (
    "amount currency customer description metadata payment_method payment_method_data payment_method_options "
    "payment_method_types receipt_email setup_future_usage shipping statement_descriptor statement_descriptor_suffix "
    "transfer_group"
).split()
_CONFIRM = (
    "payment_method payment_method_data payment_method_options return_url off_session mandate mandate_data "
    "use_stripe_sdk receipt_email"
).split()
_CAPTURE = "amount_to_capture final_capture metadata statement_descriptor statement_descriptor_suffix".split()
_INCREMENT = "amount description metadata statement_descriptor".split()

_URL, _KIND = "/v1/payment_intents", "payment_intent"

ROUTES = (
    Route("POST", _URL, _KIND, create, _CREATE),
    Route("GET", _URL, _KIND, make_lister(_URL, lambda ledger: ledger.payment_intents, "customer"),
          (*PAGE, "customer"), is_list=True),
    Route("GET", f"{_URL}/search", _KIND, search.make_searcher(f"{_URL}/search", lambda ledger: ledger.payment_intents),
          search.PARAMS, is_list=True),
    Route("GET", f"{_URL}/{{id}}", _KIND, make_reader(lambda ledger: ledger.payment_intents), ["client_secret"]),
    Route("POST", f"{_URL}/{{id}}", _KIND, update, _UPDATE),
    Route("POST", f"{_URL}/{{id}}/confirm", _KIND, confirm, _CONFIRM),
    Route("POST", f"{_URL}/{{id}}/capture", _KIND, capture, _CAPTURE),
    Route("POST", f"{_URL}/{{id}}/cancel", _KIND, cancel, ["cancellation_reason"]),
    Route("POST", f"{_URL}/{{id}}/increment_authorization", _KIND, increment, _INCREMENT),
)  # fmt: skip
