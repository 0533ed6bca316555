"""Reports of each comparison with Stripe's ledger; made by the worker once a day, and by the command `reconcile`."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from returns_service.commands.reconciliation_runs import (
    ReconciliationDifferenceView,
    ReconciliationView,
    get_run,
    show_difference,
    show_run,
)
from returns_service.domain.vocabulary import DIFFERENCE_CODES, DIFFERENCE_OUTCOMES
from returns_service.store.database import Tx
from returns_service.store.tables import ReconciliationDifference, ReconciliationRun
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, reads
from returns_service.web.operations.parameters import CREATED, several_of
from returns_service.web.operations.query_string import ListView, show_list

TAG = "Reconciliations"


@reads(
    "/v1/reconciliations", TAG, ListView[ReconciliationView], paged=True, parameters=CREATED, errors=("unknown_filter",)
)
async def list_reconciliations(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List the comparisons with Stripe's ledger, newest first."""
    run_id, made_at = ReconciliationRun.id, ReconciliationRun.created_at
    chosen = call.query.within(select(ReconciliationRun), run_id, "rec", created=made_at)
    found = (await tx.execute(call.query.window(chosen, ReconciliationRun.id, "rec"))).scalars().all()
    rows, has_more = call.query.page(found)
    return Reply(show_list("/v1/reconciliations", rows, has_more, lambda run: show_run(run, tx.now)))


@reads("/v1/reconciliations/{reconciliation_id}", TAG, ReconciliationView, errors=("not_found",))
async def read_reconciliation(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a comparison: how far it looked back, what it counted, and how much differs. Its rows are a list beside."""
    return Reply(show_run(await get_run(tx, call.id("reconciliation_id")), tx.now))


@reads(
    "/v1/reconciliations/{reconciliation_id}/differences", TAG, ListView[ReconciliationDifferenceView], paged=True,
    errors=("not_found", "unknown_filter"),
    parameters={
        "code": several_of("Only rows of this kind.", DIFFERENCE_CODES),
        "outcome": several_of("Only rows of which this became.", DIFFERENCE_OUTCOMES),
        **CREATED,
    },
)  # fmt: skip
async def list_reconciliation_differences(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List what a comparison met, newest first: each row with its cause in words and what became of it."""
    run = await get_run(tx, call.id("reconciliation_id"))
    query = call.query
    chosen: Any = select(ReconciliationDifference).where(col(ReconciliationDifference.run_id) == run.id)
    if codes := query.several_of("code", DIFFERENCE_CODES):
        chosen = chosen.where(col(ReconciliationDifference.code).in_(codes))
    if outcomes := query.several_of("outcome", DIFFERENCE_OUTCOMES):
        chosen = chosen.where(col(ReconciliationDifference.outcome).in_(outcomes))
    made_at = ReconciliationDifference.created_at
    chosen = query.within(chosen, ReconciliationDifference.id, "dif", created=made_at)
    found = (await tx.execute(query.window(chosen, ReconciliationDifference.id, "dif"))).scalars().all()
    rows, has_more = query.page(found)
    return Reply(show_list(f"/v1/reconciliations/{run.id}/differences", rows, has_more, show_difference))


OPERATIONS: tuple[Operation, ...] = (list_reconciliations, read_reconciliation, list_reconciliation_differences)
