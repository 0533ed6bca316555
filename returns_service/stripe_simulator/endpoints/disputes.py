"""`/v1/disputes` (docs.stripe.com/api/disputes)."""

from __future__ import annotations

from .. import disputes
from ..collection import Json
from ..form import Params, merge_metadata
from ..ledger import Ledger
from ..objects import EVIDENCE
from ..refusals import param_error
from .route import PAGE, Perform, Route, find_row, make_lister, make_reader


def update(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/disputes/{id}`; evidence goes to the bank unless `submit` is false."""
    evidence, metadata = params.get_object("evidence") or {}, params.get_metadata()
    unknown = [field for field, value in evidence.items() if field not in EVIDENCE or not isinstance(value, str)]
    if unknown:
        words = f"Received unknown parameter: evidence[{unknown[0]}]"
        raise param_error(words, f"evidence[{unknown[0]}]", "parameter_unknown")
    submit = params.get_boolean("submit") is not False

    def perform() -> Json:
        dispute = find_row(ledger.disputes, name)
        merged = merge_metadata(dispute["metadata"], metadata)
        return disputes.update(ledger, dispute, evidence, merged, submit=submit)

    return perform


def close(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/disputes/{id}/close`."""
    return lambda: disputes.close(ledger, find_row(ledger.disputes, name))


_FILTERS = ("charge", "payment_intent")

ROUTES = (
    Route("GET", "/v1/disputes", "dispute", make_lister("/v1/disputes", lambda ledger: ledger.disputes, *_FILTERS),
          (*PAGE, *_FILTERS), is_list=True),
    Route("GET", "/v1/disputes/{id}", "dispute", make_reader(lambda ledger: ledger.disputes)),
    Route("POST", "/v1/disputes/{id}", "dispute", update, ["evidence", "metadata", "submit"]),
    Route("POST", "/v1/disputes/{id}/close", "dispute", close),
)  # fmt: skip
