"""Notes that colleagues write about a return. A note is an entry of its history: it can't be changed afterwards."""

from __future__ import annotations

from returns_service.domain.policy import Policy
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.transition import record_return
from returns_service.store.database import Tx
from returns_service.store.tables import Event


async def add_note(tx: Tx, by: Actor, policy: Policy, return_id: str, text: str) -> Event:
    """Write a note about a return, whatever its state. Raises Problem not_found."""
    case = await lock_case(tx, by, policy, return_id)
    return await record_return(case, "return.note_added", {"text": text})
