"""Notes for colleagues about a return, each with its author and time. Customers never see them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import StringConstraints
from sqlmodel import col, select

from returns_service.commands.notes import add_note
from returns_service.return_case.loader import check_exists
from returns_service.return_case.views import NoteView, show_note
from returns_service.store.database import Tx
from returns_service.store.tables import Event
from returns_service.web.operations.bodies import Body, Clean, Visible
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, reads, writes
from returns_service.web.operations.parameters import CREATED
from returns_service.web.operations.query_string import ListView, show_list
from returns_service.web.operations.returns import TAG

NoteText = Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True), Clean, Visible]


class AddNote(Body):
    """What colleagues should know."""

    text: NoteText


@writes(
    "/v1/returns/{return_id}/notes", TAG, NoteView,
    if_match=True, scope="returns:write", body=AddNote, status=201,
    example={"text": "The customer called: the parcel is on its way."}, errors=("not_found",),
)  # fmt: skip
async def create_note(call: OperationCall[AddNote], tx: Tx) -> Reply:
    """Write a note about a return, whatever its state.

    It stays in the return's history, under its author's name. An Idempotency-Key is recommended: without one, a
    repeated request makes a second note.
    """
    return Reply(show_note(await add_note(tx, call.by, call.policy, call.id("return_id"), call.body.text)))


@reads(
    "/v1/returns/{return_id}/notes", TAG, ListView[NoteView], paged=True, errors=("not_found", "unknown_filter"),
    parameters=CREATED,
)  # fmt: skip
async def list_notes(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List the notes about a return, newest first."""
    return_id, query = call.id("return_id"), call.query
    await check_exists(tx, return_id)
    of_return = (col(Event.return_id) == return_id, col(Event.type) == "return.note_added")
    chosen: Any = query.within(select(Event).where(*of_return), Event.id, "evt", created=Event.created_at)
    rows = (await tx.execute(query.window(chosen, Event.id, "evt"))).scalars().all()
    page, has_more = query.page(rows)
    return Reply(show_list(f"/v1/returns/{return_id}/notes", page, has_more, show_note))


OPERATIONS: tuple[Operation, ...] = (create_note, list_notes)
