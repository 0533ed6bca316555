"""What answers look like, as JSON Schema: the contract's side of `commands/answers.py`. A test holds both together."""

from __future__ import annotations

from typing import Any, get_args

from returns_service.domain.problems import PROBLEMS
from returns_service.domain.refund_status import STATUSES
from returns_service.domain.return_machine import PUBLIC, STATES
from returns_service.domain.vocabulary import (
    CONDITIONS,
    DELIVERY_STATUSES,
    EVENT_TYPES,
    DeskAction,
    Disposition,
    SettlementMethod,
    UndeclaredDecision,
)
from returns_service.domain.vocabulary import DESK_KINDS as KINDS
from returns_service.domain.vocabulary import DIFFERENCE_CODES as CODES
from returns_service.domain.vocabulary import DIFFERENCE_OUTCOMES as OUTCOMES
from returns_service.domain.vocabulary import SUBSCRIPTIONS as SUBSCRIBABLE

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
LISTED = (
    "return", "refund", "receipt", "event", "reconciliation", "reconciliation_difference", "desk_item",
    "webhook_endpoint", "delivery",
)  # fmt: skip
WHOLE: Schema = {"type": "integer"}
TIME: Schema = {"type": "string", "format": "date-time"}
THING: Schema = {"type": "object"}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}
CURRENCY: Schema = {"type": "string", "pattern": "^[a-z]{3}$", "examples": ["usd"]}


def amount(said: str) -> Schema:
    """Return the shape of an amount in minor units."""
    return {"type": "integer", "description": f"{said} Minor units."}


def maybe(shape: Schema) -> Schema:
    """Return a shape that may be null."""
    if isinstance(shape.get("type"), str):
        return {**shape, "type": [shape["type"], "null"]}
    return {"anyOf": [shape, {"type": "null"}]}


def an_id(prefix: str) -> Schema:
    """Return the shape of one kind's ids."""
    return {"type": "string", "pattern": f"^{prefix}_[0-9a-z]{{26}}$"}


def one_of(words: Any) -> Schema:
    """Return the shape of a word out of a closed list."""
    return {"type": "string", "enum": list(words)}


def the(word: str) -> Schema:
    """Return the shape of a constant."""
    return {"const": word}


def listed(shape: Schema) -> Schema:
    """Return the shape of an array."""
    return {"type": "array", "items": shape}


def ref(name: str) -> Schema:
    """Return a link to another shape."""
    return {"$ref": f"#/components/schemas/{name}"}


def thing(said: str, **fields: Schema) -> Schema:
    """Return the shape of an object all of whose fields are always there; more may be added later."""
    named = {name.rstrip("_"): shape for name, shape in fields.items()}
    return {"type": "object", "description": said, "required": list(named), "properties": named}


def page(name: str) -> Schema:
    """Return the shape of a list."""
    return thing("One page, newest first.", object=the("list"), url=TEXT, has_more=FLAG, data=listed(ref(name)))


def either(an: Schema, name: str) -> Schema:
    """Return the shape of a link that `expand[]` turns into the thing itself."""
    return {"anyOf": [an, ref(name)]}


SHAPES: dict[str, Schema] = {
    "return": thing(
        "A return authorization.",
        id=an_id("ret"), object=the("return"), created=TIME, updated=TIME, livemode=FLAG, order_id=TEXT,
        payment=either(an_id("pay"), "payment"), payment_intent=maybe(TEXT), charge=maybe(TEXT), currency=CURRENCY,
        state=one_of(STATES), reason=maybe(TEXT), customer_email=maybe(TEXT), purchased_at=maybe(TIME),
        shipping_amount=amount("What the customer paid for shipping."), internal_note=maybe(TEXT),
        lines=listed(ref("return_line")), undeclared=listed(ref("undeclared_item")),
        amount_authorized=amount("What the lines and shipping cost."),
        amount_estimated=amount("What is refunded if all comes back as new."),
        amount_due=amount("What is still to be refunded for what was received."),
        amount_open=amount("On its way."), amount_refunded=amount("Refunded through Stripe."),
        amount_settled_outside=amount("Paid by other means."),
        approvals=listed(ref("approval")), approvals_required=COUNT, closed_at=maybe(TIME),
        failure=maybe(ref("return_failure")), refund_barred=maybe(THING), available_actions=listed(one_of(PUBLIC)),
        barred_actions={**LABELS, "description": "What can't be done now, and why."},
        policy={**THING, "description": "The policy it was approved under; before that, the one in force."},
        version={"type": "integer", "minimum": 1, "description": "Its ETag."}, metadata=LABELS,
    ),
    "return_line": thing(
        "Units of one SKU that may come back.",
        id=an_id("rli"), object=the("return_line"), sku=TEXT, title=maybe(TEXT), reason=maybe(TEXT),
        order_line=maybe(TEXT), quantity_ordered=maybe(COUNT), quantity=COUNT,
        total_amount=amount("What the customer paid for these units."), received_quantity=COUNT,
        accepted_quantity=COUNT, rejected_quantity=COUNT, inspecting_quantity=COUNT,
        refunded_amount=amount("Refunded for this line."),
    ),
    "undeclared_item": thing(
        "Units that nobody announced.",
        id=an_id("und"), object=the("undeclared_item"), receipt=an_id("rcp"), sku=TEXT, quantity=COUNT,
        note=maybe(TEXT), decision=maybe({"enum": [*get_args(UndeclaredDecision), None]}), line=maybe(an_id("rli")),
        decided_by=maybe(TEXT), decided_at=maybe(TIME),
    ),
    "approval": {
        "type": "object", "required": ["by", "at"],
        "properties": {"by": TEXT, "at": TIME, "note": TEXT, "override_reason": TEXT},
    },
    "return_failure": thing(
        "Why its refund failed.", code=TEXT, message=TEXT, advice=maybe(TEXT), refund=an_id("rfd")
    ),
    "refund": thing(
        "One intent to move money, and what became of it.",
        id=an_id("rfd"), object=the("refund"), created=TIME, updated=TIME, livemode=FLAG,
        return_=maybe(either(an_id("ret"), "return")), payment=either(an_id("pay"), "payment"),
        payment_intent=maybe(TEXT), charge=maybe(TEXT), amount=amount("What is moved."), currency=CURRENCY,
        reason=maybe(TEXT), note=maybe(TEXT), status=one_of(STATUSES),
        source=one_of(("return", "standalone", "external")),
        method=maybe({"enum": [*get_args(SettlementMethod), None]}),
        reference=maybe(TEXT), stripe_refund=maybe(TEXT), failure=maybe(ref("refund_failure")),
        breakdown=listed(ref("breakdown_row")), attempts=COUNT, generation=COUNT, first_attempt_at=maybe(TIME),
        next_attempt_at=maybe(TIME), waits_for=maybe(TEXT), superseded_by=maybe(an_id("rfd")),
        superseded_at=maybe(TIME), duplicate_of=maybe(an_id("rfd")), arrival=maybe(ref("arrival")), metadata=LABELS,
    ),
    "refund_failure": {
        "type": "object", "description": "Why it failed, in plain words, and what to do.",
        "required": ["code", "message"],
        "properties": {
            "code": TEXT, "message": TEXT, "stripe_code": maybe(TEXT), "failure_reason": maybe(TEXT),
            "advice": maybe(TEXT), "by": TEXT,
        },
    },
    "breakdown_row": thing(
        "A part of the amount; the parts sum to it.",
        kind=TEXT, line=maybe(an_id("rli")), units=COUNT, amount=amount("Negative where it is taken away."),
        description=maybe(TEXT), adjustment=FLAG,
    ),
    "arrival": thing("How the customer can trace it.", reference=maybe(TEXT), kind=maybe(TEXT), expected=maybe(TEXT)),
    "payment": thing(
        "A Stripe payment and what is left of it.",
        id=an_id("pay"), object=the("payment"), created=TIME, livemode=FLAG, payment_intent=maybe(TEXT),
        charge=maybe(TEXT), currency=CURRENCY, status=TEXT, method=maybe(TEXT), captured=amount("Captured."),
        refunded=amount("Refunded."), reserved=amount("On its way."),
        refundable=amount("Left; below zero while an overtaken refund has not failed yet."), disputed=FLAG,
        dispute=maybe(THING), refunds=listed(ref("refund")),
    ),
    "refund_preview": thing(
        "What a refund would pay now.",
        object=the("refund_preview"), return_=an_id("ret"), amount=amount("What it would pay."), currency=CURRENCY,
        breakdown=listed(ref("breakdown_row")), refundable=amount("What the payment has left."),
        barred=maybe(thing("What bars it.", code=TEXT, message=TEXT)),
    ),
    "receipt": thing(
        "One count at the dock.",
        id=an_id("rcp"), object=the("receipt"), created=TIME, return_=an_id("ret"), received_by=TEXT,
        scan_id=maybe(TEXT), reversed=FLAG, reversed_at=maybe(TIME), reversed_by=maybe(TEXT),
        reversed_reason=maybe(TEXT), lines=listed(ref("receipt_line")), undeclared=listed(ref("undeclared_item")),
    ),
    "receipt_line": thing(
        "Units of one line in one condition.",
        line=an_id("rli"), sku=TEXT, quantity=COUNT, condition=one_of(CONDITIONS),
        disposition=one_of(get_args(Disposition)),
        accepted={"type": ["boolean", "null"], "description": "null: waits for inspection."},
    ),
    "event": thing(
        "What happened to what, and who did it.",
        id=an_id("evt"), object=the("event"), created=TIME, type=one_of((*EVENT_TYPES, "ping")),
        return_=maybe(an_id("ret")), refund=maybe(an_id("rfd")), payment=maybe(an_id("pay")), actor=TEXT,
        request_id=maybe(TEXT),
        sequence={"type": ["integer", "null"], "description": "Counts the events of one return, from 1."}, data=THING,
    ),
    "reconciliation": thing(
        "A comparison of Stripe's refunds with ours.",
        id=an_id("rec"), object=the("reconciliation"), created=TIME, since=TIME, finished_at=maybe(TIME),
        status=one_of(("running", "interrupted", "finished")), fix=FLAG, started_by=TEXT,
        differing={"type": ["integer", "null"], "description": "Rows that differ unrepaired; null until it is over."},
        counts={"type": "object", "additionalProperties": COUNT},
    ),
    "reconciliation_difference": thing(
        "What a comparison met, and what became of it.",
        id=an_id("dif"), object=the("reconciliation_difference"), code=one_of(CODES), differs=FLAG,
        outcome=one_of(OUTCOMES), cause=TEXT, advice=maybe(TEXT), payment_intent=maybe(TEXT), charge=maybe(TEXT),
        stripe_refund=maybe(TEXT), refund=maybe(TEXT), return_=maybe(TEXT), currency=maybe(CURRENCY),
        amount_here=maybe(amount("As it is here.")), amount_at_stripe=maybe(amount("As Stripe says.")),
        status_here=maybe(TEXT), status_at_stripe=maybe(TEXT),
    ),
    "desk_item": thing(
        "One thing that waits for a person. An action is POSTed to `/v1/refunds/{refund}/{action}`, or without a "
        "refund to `/v1/returns/{return}/{action}`.",
        id=TEXT, object=the("desk_item"), kind=one_of(KINDS), since=TIME, return_=maybe(TEXT), order_id=maybe(TEXT),
        refund=maybe(TEXT), payment=maybe(an_id("pay")), amount=maybe(amount("What it is about.")),
        currency=maybe(CURRENCY), code=TEXT, message={**TEXT, "description": "What happened, in plain words."},
        advice={**TEXT, "description": "What can be done now."},
        actions=listed(one_of(get_args(DeskAction))), attempts=maybe(COUNT),
        next_attempt_at=maybe(TIME), stripe_event=maybe(TEXT), reconciliation=maybe(an_id("rec")),
        webhook_endpoint=maybe(an_id("whe")),
        answer_by={**maybe(TIME), "description": "Until then the dispute has to be answered."},
    ),
    "webhook_endpoint": thing(
        "Where somebody wants to be told (https://www.standardwebhooks.com).",
        id=an_id("whe"), object=the("webhook_endpoint"), created=TIME, url=TEXT, events=listed(one_of(SUBSCRIBABLE)),
        description=maybe(TEXT), status=one_of(("enabled", "disabled")), disabled_at=maybe(TIME),
        disabled_reason=maybe(TEXT),
        old_secrets_until={**listed(TIME), "description": "Secrets rotated away sign beside the new one until then."},
    ),
    "deleted_webhook_endpoint": thing(
        "It is gone.", id=an_id("whe"), object=the("webhook_endpoint"), deleted={"const": True}
    ),
    "delivery": thing(
        "One event on its way to one endpoint.",
        id=an_id("dlv"), object=the("delivery"), created=TIME, event=an_id("evt"), endpoint=an_id("whe"),
        status=one_of(DELIVERY_STATUSES), reason={**maybe(TEXT), "description": "Why it is dead."},
        attempts=listed(thing("One call.", at=TIME, status=maybe(WHOLE), error=maybe(TEXT))),
        next_attempt_at=maybe(TIME), ended_at=maybe(TIME),
    ),
    "problem": {
        "type": "object",
        "description": "What can't be done and why (RFC 9457). A problem's own facts stand beside these members.",
        "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"}, "title": TEXT, "status": WHOLE, "detail": TEXT,
            "instance": TEXT, "code": one_of(PROBLEMS), "param": maybe(TEXT), "request_id": TEXT,
            "errors": listed(thing("One wrong field.", param=maybe(TEXT), code=TEXT, message=TEXT)),
        },
    },
}  # fmt: skip
# Only where they were asked for.
SHAPES["return"]["properties"] |= {"refunds": listed(ref("refund")), "events": listed(ref("event"))}
SHAPES["webhook_endpoint"]["properties"]["secret"] = {**TEXT, "description": "Where it is made, and only there."}
SHAPES |= {f"{name}_list": page(name) for name in LISTED}
SHAPES["desk_item_list"] = thing(
    "One page, most urgent first, then oldest.",
    object=the("list"), url=TEXT, has_more=FLAG, data=listed(ref("desk_item")),
    totals=thing("How many there are in all, by kind.", **dict.fromkeys(KINDS, COUNT)),
)  # fmt: skip
