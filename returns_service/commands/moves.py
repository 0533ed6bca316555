"""One trigger fired on one return, and its place in the history."""

from __future__ import annotations

from typing import Any

from returns_service.commands.answers import shown_return
from returns_service.commands.case import Case
from returns_service.commands.history import record
from returns_service.domain import return_machine


async def move(case: Case, trigger: str, *, why: str | None = None, **facts: Any) -> None:
    """Fire `trigger` and record it. `facts` are what it brings along. Raises Problem, nothing changed."""
    before = case.row.state
    return_machine.fire(trigger, case.row, case.facts(why=why, **facts))
    await record_move(case, trigger, before, why)


async def record_move(case: Case, trigger: str, before: str, why: str | None) -> None:
    """Record a trigger that has fired: `return.state_changed`, or `return.updated` where it led back."""
    kind = "return.updated" if case.row.state == before else "return.state_changed"
    said: dict[str, Any] = {"from": before, "to": case.row.state, "trigger": trigger, "reason": why}
    event = await record(case.tx, case.by, kind, row=case.row, data=said)
    event.data = said | {"object": shown_return(case)}
