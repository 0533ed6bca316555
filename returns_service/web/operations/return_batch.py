"""Many return authorizations in one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct
from pydantic import Field

from returns_service.return_case.views import ReturnView
from returns_service.return_case.views.fields import HttpStatus
from returns_service.web.errors import ProblemView
from returns_service.web.operations.bodies import Batch
from returns_service.web.operations.operation import BatchResult, Operation, batches
from returns_service.web.operations.returns import LINE_EXAMPLE, TAG, create_return

MOST_IN_BATCH = 100  # each asks Stripe for its payment: more would outlast a proxy's patience


class CreateReturns(Batch):
    """Return authorizations, each as it is sent to `POST /v1/returns`."""

    items: list[dict[str, Any]] = Field(alias="returns", min_length=1, max_length=MOST_IN_BATCH)


class CreatedReturnView(Struct, kw_only=True, rename={"return_": "return"}):
    """What became of one return of a batch; `problem` as the request alone would be answered."""

    status: HttpStatus
    replayed: bool
    return_: ReturnView | None
    problem: ProblemView | None


class ReturnBatchView(Struct, kw_only=True, tag_field="object", tag="return_batch"):
    """The results of a batch, in the order of its returns."""

    results: list[CreatedReturnView]


@batches(
    "/v1/returns/batch", TAG, ReturnBatchView, each=create_return, body=CreateReturns,
    example={"returns": [{
        "order_id": "order_98765", "payment_intent": "pi_3PxExample", "currency": "usd", "lines": [LINE_EXAMPLE],
    }]},
)  # fmt: skip
def create_returns(results: Sequence[BatchResult]) -> ReturnBatchView:
    """Ask for up to 100 return authorizations.

    Each is a request of its own, in a transaction of its own, one after the other: some may be made and others refused.
    A batch that is sent again under its key answers what was made, and tries again what was refused or not reached.
    """
    shown: list[Any] = [
        CreatedReturnView(
            status=one.status,
            replayed=one.replayed,
            return_=cast("ReturnView | None", one.answer),
            problem=cast("ProblemView | None", one.problem),
        )
        for one in results
    ]
    return ReturnBatchView(results=shown)


OPERATIONS: tuple[Operation, ...] = (create_returns,)
