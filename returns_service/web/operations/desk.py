"""The desk: what waits for a person, why, and what can be done about it."""

from __future__ import annotations

from returns_service.domain.vocabulary import DESK_KINDS
from returns_service.queries import desk
from returns_service.queries.desk_items import DeskItemListView, show_page
from returns_service.store.database import Tx
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, reads
from returns_service.web.operations.parameters import several_of
from returns_service.web.operations.query_string import wrong


@reads(
    "/v1/desk", "Desk", DeskItemListView, paged=True,
    errors=("unknown_filter",),
    parameters={"kind": several_of("Only things of this kind; `totals` count all kinds all the same.", DESK_KINDS)},
)  # fmt: skip
async def list_desk_items(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List what waits for a person, most urgent first, then oldest.

    A thing is listed as long as it waits: a decided thing, or one that settles by itself, is gone at the next call. It
    shows what this scope may read elsewhere (refunds, returns, comparisons with Stripe); acting asks for
    `refunds:write`.
    """
    query = call.query
    kinds, cursor = query.several_of("kind", DESK_KINDS), query.cursor
    found = await desk.entries(tx, limit=query.limit + 1, kinds=kinds, cursor=cursor)
    if found is None:
        name = "ending_before" if cursor and cursor[1] else "starting_after"
        raise wrong(name, "That thing is not on the desk, or not any more: begin again without it")
    rows, has_more = query.page(found)
    figures = await desk.read_figures(tx)
    return Reply(await show_page(tx, call.policy, rows, figures, has_more=has_more))


OPERATIONS: tuple[Operation, ...] = (list_desk_items,)
