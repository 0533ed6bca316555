"""What the customer wants for their units: a refund, store credit or an exchange. It may change until they are paid."""

from __future__ import annotations

from collections.abc import Sequence

from returns_service.commands.refunds import follow_up, withdraw_or_supersede
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import OPEN
from returns_service.domain.vocabulary import Resolution
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.rows import depends_on, is_unsent, waits_for_its_decision
from returns_service.return_case.transition import check_edge, transition
from returns_service.store.database import Tx
from returns_service.store.tables import Refund, ReturnLine

RESOLVED = "The customer wants something else for these units, said before it was sent; no money has moved."


async def set_resolution(
    tx: Tx, by: Actor, policy: Policy, return_id: str, resolution: Resolution, lines: Sequence[str]
) -> ReturnCase:
    """Say what the customer wants for units that are neither paid nor settled, of these lines or of all.

    A refund of theirs that is not sent yet is withdrawn, a failed one superseded. Raises Problem.
    """
    case = await lock_case(tx, by, policy, return_id)
    check_edge(case, "resolution")
    unpaid = _unpaid_lines(case, _named_lines(case, lines), whole=not lines)
    changed = [line for line in unpaid if line.resolution != resolution]
    if not changed:
        return case
    touched = {line.id for line in changed}
    concerned = [refund for refund in case.refunds if refund.superseded_at is None and depends_on(refund, touched)]
    _check_undecided(concerned)
    for refund in concerned:
        await withdraw_or_supersede(case, refund, "resolution_changed", RESOLVED)
    for line in changed:
        line.resolution = resolution
    if not lines:
        case.row.resolution = resolution
    await transition(case, "resolution", why=resolution, units_unpaid=True)
    await follow_up(case)
    return case


def _check_undecided(concerned: Sequence[Refund]) -> None:
    """Raise Problem where people decided about a refund of these units that has not paid: they settle it first."""
    decided = [refund for refund in concerned if waits_for_its_decision(refund)]
    if queued := [refund.id for refund in decided if refund.status == "queued"]:
        raise Problem("refund_in_progress", refunds=queued)
    if decided:
        raise Problem("failed_refund_open", refunds=[refund.id for refund in decided])


def _named_lines(case: ReturnCase, lines: Sequence[str]) -> list[ReturnLine]:
    """Return the lines that are meant; all where none is named. Raises Problem unknown_line."""
    of = {line.id: line for line in case.lines}
    for number, line_id in enumerate(lines):
        if line_id not in of:
            raise Problem("unknown_line", f"This return has no line {line_id}.", param=f"lines[{number}]")
    return [of[line_id] for line_id in dict.fromkeys(lines)] or case.lines


def _unpaid_lines(case: ReturnCase, lines: Sequence[ReturnLine], *, whole: bool) -> list[ReturnLine]:
    """Return the lines with units that are neither paid nor on their way: each of them, or of the whole return any.

    Raises Problem refund_in_progress, already_refunded.
    """
    sent = [refund for refund in case.refunds if not is_unsent(refund)]
    paid = case.committed_rows(sent)
    unpaid = [line for line in lines if case.is_unpaid(line, paid)]
    if len(unpaid) == len(lines) or (whole and unpaid):
        return unpaid
    rest = {line.id for line in lines if line not in unpaid}
    on_the_way = [refund.id for refund in sent if refund.status in OPEN and depends_on(refund, rest)]
    if on_the_way:
        raise Problem("refund_in_progress", refunds=on_the_way)
    raise Problem("already_refunded", "These units are paid or settled already.", lines=sorted(rest))
