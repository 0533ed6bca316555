"""The second person's word about a refund that one person may not decide alone."""

from __future__ import annotations

from returns_service.commands import second_person
from returns_service.return_case.views import RefundView, show_refund
from returns_service.store.database import Tx
from returns_service.web.operations.bodies import Body, Words
from returns_service.web.operations.operation import Operation, OperationCall, Reply, writes


class ApproveRefund(Body):
    """The second person's agreement, with a note where there is something to say."""

    note: Words | None = None


@writes(
    "/v1/refunds/{refund_id}/approve", "Refunds", RefundView,
    if_match=True, scope="returns:approve", body=ApproveRefund, example={"note": "Agreed with the customer."},
    errors=("not_found", "refund_not_unapproved", "second_person_required"),
)  # fmt: skip
async def approve_refund(call: OperationCall[ApproveRefund], tx: Tx) -> Reply:
    """Approve a refund that waits for a second person.

    The policy's `second_person_above` holds for all that single persons decide on a payment within 30 days. A refund
    over it is kept unsent, with `waiting_code` `second_person`, until another person than the one who decided it
    approves it here; then Stripe is asked. Two keys of one owner are one person.
    """
    row, payment = await second_person.approve_refund(
        tx, call.by, call.policy, call.id("refund_id"), note=call.body.note
    )
    return Reply(show_refund(row, payment))


OPERATIONS: tuple[Operation, ...] = (approve_refund,)
