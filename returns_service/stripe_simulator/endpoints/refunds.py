"""`/v1/refunds` (docs.stripe.com/api/refunds)."""

from __future__ import annotations

from .. import objects, refunds
from ..collection import Json
from ..form import Params, merge_metadata
from ..ledger import Ledger
from ..refusals import param_error, state_error
from .route import PAGE, Perform, Route, find_row, make_reader


def create(ledger: Ledger, params: Params, _: str) -> Perform:
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


def update(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/refunds/{id}`."""
    changes = params.get_metadata()

    def perform() -> Json:
        row = find_row(ledger.refunds, name)
        return refunds.update(ledger, row, merge_metadata(row["metadata"], changes))

    return perform


def cancel(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/refunds/{id}/cancel`."""

    def perform() -> Json:
        row = find_row(ledger.refunds, name)
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
        find_row(ledger.charges, charge, "charge")
        among = ledger.refunds_of.get(charge, [])
    if intent is not None:
        find_row(ledger.payment_intents, intent, "payment_intent")
        charges = ledger.charges_of.get(intent, [])
        if charge is not None:
            among = among if charge in charges else []
        else:
            among = [name for one in charges for name in ledger.refunds_of.get(one, [])]
    return lambda: objects.build_list("/v1/refunds", *ledger.refunds.get_page(cursor, span, among=among))


_CREATE = (
    "amount charge currency customer instructions_email metadata origin payment_intent reason "
    "refund_application_fee reverse_transfer"
).split()

ROUTES = (
    Route("POST", "/v1/refunds", "refund", create, _CREATE),
    Route("GET", "/v1/refunds", "refund", list_refunds, (*PAGE, "charge", "payment_intent"), is_list=True),
    Route("GET", "/v1/refunds/{id}", "refund", make_reader(lambda ledger: ledger.refunds)),
    Route("POST", "/v1/refunds/{id}", "refund", update, ["metadata"]),
    Route("POST", "/v1/refunds/{id}/cancel", "refund", cancel),
)
