"""What the customer wants for their units: a refund, store credit or an exchange."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from returns_service.commands.resolutions import set_resolution
from returns_service.domain.vocabulary import Resolution
from returns_service.return_case.views import ReturnView
from returns_service.store.database import Tx
from returns_service.web.operations.bodies import MOST_LINES, Body, Id
from returns_service.web.operations.operation import Operation, OperationCall, Reply, writes
from returns_service.web.operations.returns import TAG, reply_with


class ResolvedLine(Body):
    """A line of the return."""

    line: Id


def read_line(sent: Any) -> Any:
    """Return a line that is named by its id alone as one that is named by a field."""
    return {"line": sent} if isinstance(sent, str) else sent


# Not a union of the two: what is wrong with either would be told of both, under names that no caller has sent.
NamedLine = Annotated[ResolvedLine, BeforeValidator(read_line, json_schema_input_type=Id | ResolvedLine)]


class SetResolution(Body):
    """What the customer wants for their units: of these lines, of all that are unpaid where none is named."""

    resolution: Resolution
    lines: list[NamedLine] = Field(default_factory=list, min_length=1, max_length=MOST_LINES)

    def line_ids(self) -> list[str]:
        """Return the lines' ids."""
        return [line.line for line in self.lines]


@writes(
    "/v1/returns/{return_id}/resolution", TAG, ReturnView,
    if_match=True, scope="returns:write", body=SetResolution, headers=("ETag",), example={"resolution": "exchange"},
    errors=(
        "not_found", "invalid_transition", "unknown_line", "already_refunded", "refund_in_progress",
        "failed_refund_open",
    ),
)  # fmt: skip
async def resolve_return(call: OperationCall[SetResolution], tx: Tx) -> Reply:
    """Say what the customer wants: a refund, store credit or an exchange.

    Until the units are paid. The amount due for units that are not refunded is `amount_due_outside`: it is never paid
    through Stripe, and the desk asks to settle it outside, with method and reference.
    """
    body, return_id = call.body, call.id("return_id")
    return reply_with(await set_resolution(tx, call.by, call.policy, return_id, body.resolution, body.line_ids()))


OPERATIONS: tuple[Operation, ...] = (resolve_return,)
