"""Return authorizations: asked for by the shop, decided by people, closed when the rest isn't coming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from pydantic import Field
from sqlmodel import col, func, select

from returns_service.commands import returns
from returns_service.commands.corrections import acknowledge_overpaid
from returns_service.commands.return_lines import NewLine
from returns_service.commands.returns import NewReturn
from returns_service.commands.stripe_fold import adopt_payment
from returns_service.domain.return_machine import STATES
from returns_service.domain.vocabulary import Resolution
from returns_service.queries.returns import finds_often, return_ids
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_case, load_cases
from returns_service.return_case.views import EventView, ReturnView, show_event, show_payment, show_refund, show_return
from returns_service.store.database import Tx
from returns_service.store.tables import Event, ReturnAuthorization
from returns_service.web.operations.ask_stripe import Target, payment_at_stripe, payment_in, stripe_of
from returns_service.web.operations.bodies import (
    MOST_LINES,
    Amount,
    Body,
    Currency,
    Email,
    Metadata,
    Moment,
    Name,
    Person,
    Reason,
    Title,
    TrackingNumbers,
    Units,
    Words,
)
from returns_service.web.operations.operation import (
    Empty,
    Operation,
    OperationCall,
    Reply,
    StripeRead,
    reads,
    writes,
)
from returns_service.web.operations.parameters import CREATED_AND_UPDATED, METADATA, id_of, several_of, text
from returns_service.web.operations.preconditions import etag
from returns_service.web.operations.query_string import LIMIT, ListView

TAG = "Returns"
EXPANDABLE = ("payment", "refunds", "events")
MOST_BARCODES = 20  # of a line: an article has a few, one for each country or pack
LINE_EXAMPLE = {"sku": "SHIRT", "title": "Blue shirt", "quantity": 3, "total_amount": 10000}


class LineAsked(Body):
    """Units of one SKU that may come back. `total_amount` is what the customer paid for them, tax and discounts in."""

    sku: Name
    title: Title | None = None
    quantity: Units
    total_amount: Amount
    reason: Words | None = None
    order_line: Name | None = None
    quantity_ordered: Units | None = None
    barcodes: list[Name] = Field(default_factory=list, max_length=MOST_BARCODES)
    resolution: Resolution | None = None
    tax_amount: Amount | None = None

    def new_line(self) -> NewLine:
        """Return it as the command takes it."""
        return NewLine(**self.model_dump())


Line = TypeVar("Line", bound=LineAsked)


class ReturnAsked(Target, Generic[Line]):
    """A return authorization over lines of one kind. The payment is named by `payment_intent` or by `charge`."""

    order_id: Name
    currency: Currency
    reason: Words | None = None
    lines: list[Line] = Field(min_length=1, max_length=MOST_LINES)
    shipping_amount: Amount = 0
    shipping_tax_amount: Amount | None = None
    order_units: Units | None = None
    resolution: Resolution = "refund"
    customer_email: Email | None = None
    customer_name: Person | None = None
    tracking_numbers: TrackingNumbers = Field(default_factory=list)
    purchased_at: Moment | None = None
    delivered_at: Moment | None = None
    metadata: Metadata | None = None

    def new_return(self) -> NewReturn:
        """Return it as the command takes it."""
        return NewReturn(
            order_id=self.order_id,
            currency=self.currency,
            lines=[line.new_line() for line in self.lines],
            reason=self.reason,
            shipping_amount=self.shipping_amount,
            shipping_tax_amount=self.shipping_tax_amount,
            order_units=self.order_units,
            resolution=self.resolution,
            customer_email=self.customer_email,
            customer_name=self.customer_name,
            tracking_numbers=self.tracking_numbers,
            purchased_at=self.purchased_at,
            delivered_at=self.delivered_at,
            metadata=self.metadata or {},
        )


class CreateReturn(ReturnAsked[LineAsked]):
    """A return authorization. The payment is named by `payment_intent` or by `charge`."""


class UpdateReturn(Body):
    """What may be corrected: the first four always, the rest while nobody has approved."""

    metadata: Metadata = Field(default_factory=dict)
    internal_note: Words | None = None
    tracking_numbers: TrackingNumbers = Field(default_factory=list)
    customer_name: Person | None = None
    lines: list[LineAsked] = Field(default_factory=list, min_length=1, max_length=MOST_LINES)
    reason: Words | None = None
    customer_email: Email | None = None
    shipping_amount: Amount = 0
    shipping_tax_amount: Amount | None = None

    def changes(self) -> dict[str, Any]:
        """Return only what was sent."""
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        return sent | ({"lines": [line.new_line() for line in self.lines]} if "lines" in sent else {})


class Approve(Body):
    """An approval; `override_reason` approves against the policy and is kept in the history."""

    note: Words | None = None
    override_reason: Reason | None = None


class WithReason(Body):
    """Why it is done; kept in the history."""

    reason: Reason


class Cancel(WithReason):
    """Why it is canceled; `override_reason` where units were received."""

    override_reason: Reason | None = None


class Close(WithReason):
    """Why it is closed; `override_reason` where undeclared items wait for a decision."""

    override_reason: Reason | None = None


def reply_with(case: ReturnCase, **more: str) -> Reply:
    """Answer with the return; its version is the ETag."""
    return Reply(show_return(case), {"ETag": etag(case.row.version), **more})


async def read_payment_at_stripe(call: OperationCall[CreateReturn]) -> StripeRead:
    """Ask Stripe for the payment, before anything is written."""
    return await payment_at_stripe(call.context, call.body)


@writes(
    "/v1/returns", TAG, ReturnView,
    scope="returns:write", body=CreateReturn, status=201, headers=("ETag", "Location"),
    before_transaction=read_payment_at_stripe,
    example={
        "order_id": "order_98765", "payment_intent": "pi_3PxExample", "currency": "usd",
        "reason": "too_small", "lines": [LINE_EXAMPLE], "customer_email": "customer@example.com",
    },
    errors=(
        "amount_exceeds_payment", "tax_exceeds_total", "currency_mismatch", "payment_not_succeeded",
        "units_already_returned",
        "payment_missing", "charge_mismatch", "connect_not_supported", "amount_not_a_step", "metadata_reserved",
        "metadata_invalid", "stripe_unavailable", "stripe_refuses_us", "quantity_exceeds_ordered",
        "quantity_ordered_differs",
    ),
)  # fmt: skip
async def create_return(call: OperationCall[CreateReturn], tx: Tx) -> Reply:
    """Ask for a return authorization.

    Stripe is asked for the payment first. The return begins `requested`, or further where the policy approves it.
    An Idempotency-Key is recommended: without one, a repeated request makes a second return.
    """
    locked = await adopt_payment(tx, stripe_of(call), call.policy, payment_in(call.stripe_read))
    case = await returns.create(locked, call.by, call.policy, call.body.new_return())
    return reply_with(case, Location=f"/v1/returns/{case.row.id}")


@reads(
    "/v1/returns", TAG, ListView[ReturnView], paged=True,
    parameters={
        "state": several_of("Only returns in this state.", STATES),
        "order_id": text("Only returns of this order."),
        "payment_intent": id_of("pi", "Only returns on this PaymentIntent."),
        "customer_email": text("Only returns of this customer."),
        "metadata": METADATA,
        **CREATED_AND_UPDATED,
        "q": text(
            "Search: words that all begin something of the return. Looked at are its ids, order, slip code, SKUs, "
            "tracking numbers and the customer's name and e-mail address; capitals and width don't matter."
        ),
    },
    expandable=EXPANDABLE, errors=("unknown_filter",),
)  # fmt: skip
async def list_returns(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List returns, newest first."""
    query = call.query
    chosen = return_ids(
        order_id=query.get("order_id"),
        customer_email=query.get("customer_email"),
        payment_intent=query.get("payment_intent"),
        metadata=query.keyed.get("metadata", {}),
        words=query.get("q"),
        frequent=await finds_often(tx, query.get("q") or ""),
    )
    row = ReturnAuthorization
    chosen = query.within(chosen, row.id, "ret", created=row.created_at, updated=row.updated_at)
    branches = query.updated_since(chosen, row.id, "ret", row.updated_at)
    page = query.window_of(branches, row.id, "ret", row.state, query.several_of("state", STATES))
    found = (await tx.execute(page)).scalars().all()
    ids, has_more = query.page(found)
    cases = await load_cases(tx, call.policy, ids)
    views = await expand_returns(tx, call, cases)
    return Reply(ListView(url="/v1/returns", has_more=has_more, data=views))


async def expand_returns(tx: Tx, call: OperationCall[Any], cases: list[ReturnCase]) -> list[ReturnView]:
    """Return the cases as they are answered, with what `expand[]` asks for."""
    wanted = call.query.expand
    events = await _last_events(tx, [case.row.id for case in cases]) if "events" in wanted else {}
    views = []
    for case in cases:
        view = show_return(case)
        if "payment" in wanted:
            view.payment = show_payment(case.payment, case.payment_refunds)
        if "refunds" in wanted:
            view.refunds = [show_refund(refund, case.payment) for refund in case.refunds]
        if "events" in wanted:
            newest = events.get(case.row.id, [])
            view.events, view.has_more_events = newest[-LIMIT:], len(newest) > LIMIT
        views.append(view)
    return views


async def _last_events(tx: Tx, return_ids: Sequence[str]) -> dict[str | None, list[EventView]]:
    """Return the newest events of each return, the oldest of them first: a page, and one more where there are more."""
    place = func.row_number().over(partition_by=col(Event.return_id), order_by=col(Event.sequence).desc())
    newest: Any = select(col(Event.id).label("id"), place.label("place")).where(col(Event.return_id).in_(return_ids))
    page = newest.subquery("page")
    chosen = select(Event).join(page, page.c.id == col(Event.id)).where(page.c.place <= LIMIT + 1)
    events: dict[str | None, list[EventView]] = {}
    for event in (await tx.exec(chosen.order_by(col(Event.sequence), col(Event.id)))).all():
        events.setdefault(event.return_id, []).append(show_event(event))
    return events


@reads("/v1/returns/{return_id}", TAG, ReturnView, headers=("ETag",), expandable=EXPANDABLE, errors=("not_found",))
async def read_return(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a return: its decisions, the actions possible now, and why the others are barred."""
    case = await load_case(tx, call.policy, call.id("return_id"))
    (view,) = await expand_returns(tx, call, [case])
    return Reply(view, {"ETag": etag(case.row.version)})


@writes(
    "/v1/returns/{return_id}", TAG, ReturnView,
    if_match=True, scope="returns:write", body=UpdateReturn, headers=("ETag",),
    example={"internal_note": "Customer called.", "metadata": {"desk": "2"}},
    errors=(
        "not_found", "invalid_transition", "amount_exceeds_payment", "tax_exceeds_total", "amount_not_a_step",
        "units_already_returned", "units_received", "metadata_reserved", "metadata_invalid",
        "quantity_exceeds_ordered", "quantity_ordered_differs",
    ),
)  # fmt: skip
async def update_return(call: OperationCall[UpdateReturn], tx: Tx) -> Reply:
    """Correct a return.

    `metadata`, `internal_note`, `tracking_numbers` and `customer_name` always; `lines`, `reason`, `customer_email` and
    `shipping_amount` while nobody has approved, and `lines` only while no unit was counted. A field that is sent
    replaces the one that was there; of `metadata`, a key that is sent replaces the same key, and an empty value deletes
    it. With `If-Match`, only the version that was read is changed.
    """
    changes = call.body.changes()
    return reply_with(await returns.update(tx, call.by, call.policy, call.id("return_id"), changes))


@writes(
    "/v1/returns/{return_id}/approve", TAG, ReturnView,
    if_match=True, scope="returns:approve", body=Approve, headers=("ETag",), example={"note": "Within the window."},
    errors=(
        "not_found", "invalid_transition", "policy_violation", "second_person_required", "payment_not_succeeded",
        "payment_disputed", "amount_exceeds_refundable",
    ),
)  # fmt: skip
async def approve_return(call: OperationCall[Approve], tx: Tx) -> Reply:
    """Approve a return.

    Where the policy asks for a second person, the first approval leaves it `requested`.
    """
    body = call.body
    return reply_with(
        await returns.approve(
            tx, call.by, call.policy, call.id("return_id"), note=body.note, override_reason=body.override_reason
        )
    )


@writes(
    "/v1/returns/{return_id}/decline", TAG, ReturnView,
    if_match=True, scope="returns:approve", body=WithReason, headers=("ETag",),
    example={"reason": "Out of the return window."},
    errors=("not_found", "invalid_transition", "money_moved"),
)  # fmt: skip
async def decline_return(call: OperationCall[WithReason], tx: Tx) -> Reply:
    """Decline a return."""
    return reply_with(await returns.decline(tx, call.by, call.policy, call.id("return_id"), call.body.reason))


@writes(
    "/v1/returns/{return_id}/cancel", TAG, ReturnView,
    if_match=True, scope="returns:write", body=Cancel, headers=("ETag",), example={"reason": "The customer keeps it."},
    errors=("not_found", "invalid_transition", "money_moved", "override_required"),
)  # fmt: skip
async def cancel_return(call: OperationCall[Cancel], tx: Tx) -> Reply:
    """Cancel a return before any money moved."""
    body = call.body
    return reply_with(
        await returns.cancel(tx, call.by, call.policy, call.id("return_id"), body.reason, body.override_reason)
    )


@writes(
    "/v1/returns/{return_id}/close", TAG, ReturnView,
    if_match=True, scope="returns:write", body=Close, headers=("ETag",), example={"reason": "The rest is not coming."},
    errors=("not_found", "invalid_transition", "already_closed", "still_due", "undeclared_open"),
)  # fmt: skip
async def close_return(call: OperationCall[Close], tx: Tx) -> Reply:
    """Close a return: the rest is not coming."""
    body = call.body
    return reply_with(
        await returns.close(tx, call.by, call.policy, call.id("return_id"), body.reason, body.override_reason)
    )


@writes(
    "/v1/returns/{return_id}/acknowledge", TAG, ReturnView,
    if_match=True, scope="refunds:write", body=WithReason, headers=("ETag",),
    example={"reason": "The customer keeps it as goodwill."},
    errors=("not_found", "nothing_overpaid", "refund_in_progress"),
)  # fmt: skip
async def acknowledge_overpaid_return(call: OperationCall[WithReason], tx: Tx) -> Reply:
    """Acknowledge what a return was paid beyond its worth since a correction: it leaves the desk.

    No money moves, and `overpaid_amount` is zero until another correction.
    """
    reason = call.body.reason
    return reply_with(await acknowledge_overpaid(tx, call.by, call.policy, call.id("return_id"), reason))


@writes(
    "/v1/returns/{return_id}/reopen", TAG, ReturnView,
    if_match=True, scope="returns:approve", body=WithReason, headers=("ETag",),
    example={"reason": "Declined by mistake."},
    errors=(
        "not_found", "invalid_transition", "not_closed", "units_already_returned", "amount_exceeds_payment",
        "quantity_exceeds_ordered", "quantity_ordered_differs",
    ),
)  # fmt: skip
async def reopen_return(call: OperationCall[WithReason], tx: Tx) -> Reply:
    """Reopen a return that was declined, canceled or closed by mistake.

    A declined or canceled one is `requested` again, without its approvals; a closed one is where its refunds and counts
    say.
    """
    return reply_with(await returns.reopen(tx, call.by, call.policy, call.id("return_id"), call.body.reason))


OPERATIONS: tuple[Operation, ...] = (
    create_return, list_returns, read_return, update_return, approve_return, decline_return,
    cancel_return, close_return, reopen_return, acknowledge_overpaid_return,
)  # fmt: skip
