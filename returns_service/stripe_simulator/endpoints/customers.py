"""`/v1/customers` and `/v1/payment_methods`, as far as payments need them (docs.stripe.com/api/customers)."""

from __future__ import annotations

from .. import objects
from ..collection import Json
from ..form import Params, merge_metadata
from ..ledger import Ledger
from ..methods import TEST_METHODS
from ..payments import attach
from .route import PAGE, Perform, Route, find_row, make_lister, make_reader

_TEXTS = ("description", "email", "name", "phone")


def create(ledger: Ledger, params: Params, _: str) -> Perform:
    """`POST /v1/customers`."""
    texts = {name: params.get_text(name) for name in _TEXTS}
    metadata = merge_metadata({}, params.get_metadata())

    def perform() -> Json:
        customer = objects.build_customer(ledger.new_id("cus_"), ledger.second(), metadata=metadata, **texts)
        ledger.customers.add(customer)
        ledger.emit("customer.created", customer)
        return customer

    return perform


def read_payment_method(ledger: Ledger, params: Params, name: str) -> Perform:
    """`GET /v1/payment_methods/{id}`; a test method's name builds a new payment method."""

    def perform() -> Json:
        return find_row(ledger.payment_methods, attach(ledger, name) if name in TEST_METHODS else name)

    return perform


ROUTES = (
    Route("POST", "/v1/customers", "customer", create, (*_TEXTS, "metadata")),
    Route("GET", "/v1/customers", "customer", make_lister("/v1/customers", lambda ledger: ledger.customers, "email"),
          (*PAGE, "email"), is_list=True),
    Route("GET", "/v1/customers/{id}", "customer", make_reader(lambda ledger: ledger.customers)),
    Route("GET", "/v1/payment_methods/{id}", "payment_method", read_payment_method),
)  # fmt: skip
