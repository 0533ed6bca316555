"""The contract's words for the facts of problems: what stands beside the members that all problems have."""

from __future__ import annotations

from typing import Any, Final, get_args

from returns_service.domain.refund_status import STATUSES
from returns_service.domain.return_machine import PUBLIC, STATES
from returns_service.domain.vocabulary import Scope, UndeclaredDecision

Schema = dict[str, Any]


def _minor_units(said: str) -> Schema:
    return {"type": "integer", "format": "int64", "description": f"{said} Minor units."}


def _whole(said: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": said}


def _text(said: str, **more: Any) -> Schema:
    return {"type": "string", "description": said, **more}


def _known(said: str) -> Schema:
    return {"type": ["string", "null"], "description": said}


def _several(said: str, **item: Any) -> Schema:
    return {"type": "array", "items": {"type": "string", **item}, "description": said}


VIOLATION: Final[Schema] = {
    "type": "object",
    "properties": {"code": _text("The rule, as a code."), "message": _text("What it says, in plain words.")},
    "required": ["code", "message"],
}
FACTS: Final[dict[str, Schema]] = {
    "allowed": _several("The actions that are possible now.", enum=list(PUBLIC)),
    "amount": _minor_units("What was asked for."),
    "approved_by": _known("Who has agreed already; null: nobody has to."),
    "captured": _minor_units("What was paid."),
    "counted": _whole("Units that are counted so."),
    "decision": _text("What was decided.", enum=list(get_args(UndeclaredDecision))),
    "due": _minor_units("What is due."),
    "estimate": _minor_units("What the return would pay if all came back as new."),
    "failed_amount": _minor_units("What of the failed refund is open."),
    "line": _text("The line that it is about."),
    "lines": _several("The lines that it is about."),
    "order_line": _text("The order's line that it is about, by its id in the shop."),
    "payment": _text("The payment that it is about."),
    "payment_status": _text("Stripe's word for the payment."),
    "possible_at": _text("From then on it is possible.", format="date-time"),
    "quantity": _whole("Units that were asked for, or that the line authorizes."),
    "quantity_ordered": _whole("Units that were ordered."),
    "reasons": _several("The words that are known."),
    "receipt": _text("The receipt that it is about."),
    "receipts": _several("The receipts that it is about."),
    "refund": _text("The refund that counts already."),
    "refund_status": _text("The refund's status.", enum=list(STATUSES)),
    "refundable": _minor_units("What the payment has left."),
    "refunded": _minor_units("What was refunded at Stripe."),
    "refunds": _several("The refunds that it is about."),
    "required": _whole("How many people have to agree."),
    "required_scope": _text("The scope that a key needs for it.", enum=list(get_args(Scope))),
    "retry_after": {"type": "number", "description": "Seconds to wait; `Retry-After` says them rounded up."},
    "return": _known("The return that it counts on; null: on none."),
    "returns": _several("The returns that hold units of the order line already, oldest first."),
    "reversed_at": _text("When the receipt was reversed.", format="date-time"),
    "state": _text("The return's state.", enum=list(STATES)),
    "step": _minor_units("Stripe takes multiples of it alone."),
    "stripe_code": _known("Stripe's code for why; null: it gave none."),
    "stripe_refund": _known("Stripe's id of the refund."),
    "superseded_by": _known("The refund that took its place; null: not one alone."),
    "tax_amount": _minor_units("The tax that was told."),
    "total_amount": _minor_units("What the tax is said to be in."),
    "trigger": _text("The action that was asked for."),
    "version": {"type": "integer", "minimum": 1, "description": "The version that the return is at now."},
    "violations": {"type": "array", "items": VIOLATION, "description": "What the policy says against it."},
}


def tell_facts(problem: Schema) -> None:
    """Write the facts into the schema of problems; none of them is required."""
    problem["properties"] |= FACTS
