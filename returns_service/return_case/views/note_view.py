"""A note about a return as it is answered."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from returns_service.return_case.views.fields import EventId, ReturnId, Time, rfc3339
from returns_service.store.tables import Event


class NoteView(Struct, kw_only=True, tag_field="object", tag="note", rename={"return_": "return"}):
    """What somebody wrote about a return for colleagues."""

    id: Annotated[EventId, Meta(description="The entry of the history that the note is.")]
    created: Time
    return_: ReturnId
    author: Annotated[str, Meta(description="The key (`key_…`) or the person (`usr_…`) that wrote it.")]
    text: str


def show_note(event: Event) -> NoteView:
    """Return the note that an event `return.note_added` is."""
    if event.return_id is None:
        raise LookupError(f"{event.id} is a note of no return")
    return NoteView(
        id=event.id,
        created=rfc3339(event.created_at),
        return_=event.return_id,
        author=event.actor,
        text=event.data["text"],
    )
