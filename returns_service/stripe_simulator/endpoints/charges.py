"""`/v1/charges` and `/v1/balance_transactions` (docs.stripe.com/api/charges, …/api/balance_transactions)."""

from __future__ import annotations

from .. import objects, search
from ..collection import Json
from ..form import Params, merge_metadata
from ..ledger import Ledger
from .route import PAGE, Perform, Route, find_row, make_lister, make_reader


def list_charges(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/charges`."""
    cursor, span = params.get_cursor(ledger.charges), params.get_span()
    intent, customer = params.get_text("payment_intent"), params.get_text("customer")
    among = None
    if intent is not None:
        find_row(ledger.payment_intents, intent, "payment_intent")
        among = ledger.charges_of.get(intent, [])

    def matches(row: Json) -> bool:
        return customer in (None, row["customer"])

    return lambda: objects.build_list("/v1/charges", *ledger.charges.get_page(cursor, span, matches, among))


def update(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/charges/{id}`."""
    metadata = params.get_metadata()
    texts = {field: params.get_text(field) for field in ("description", "receipt_email", "customer")}
    fraud = params.get_object("fraud_details")

    def perform() -> Json:
        charge = find_row(ledger.charges, name)
        changes: Json = {field: value for field, value in texts.items() if value is not None}
        changes["metadata"] = merge_metadata(charge["metadata"], metadata)
        if fraud is not None:
            changes["fraud_details"] = fraud
        ledger.change(charge, changes, "charge.updated")
        return charge

    return perform


_UPDATE = ("customer", "description", "fraud_details", "metadata", "receipt_email")
_TRANSACTION_FILTERS = ("currency", "source", "type")

ROUTES = (
    Route("GET", "/v1/charges", "charge", list_charges, (*PAGE, "payment_intent", "customer"), is_list=True),
    Route("GET", "/v1/charges/search", "charge",
          search.make_searcher("/v1/charges/search", lambda ledger: ledger.charges), search.PARAMS, is_list=True),
    Route("GET", "/v1/charges/{id}", "charge", make_reader(lambda ledger: ledger.charges)),
    Route("POST", "/v1/charges/{id}", "charge", update, _UPDATE),
    Route("GET", "/v1/balance_transactions", "balance_transaction",
          make_lister("/v1/balance_transactions", lambda ledger: ledger.balance_transactions, *_TRANSACTION_FILTERS),
          (*PAGE, *_TRANSACTION_FILTERS), is_list=True),
    Route("GET", "/v1/balance_transactions/{id}", "balance_transaction",
          make_reader(lambda ledger: ledger.balance_transactions)),
)  # fmt: skip
