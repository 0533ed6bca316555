"""What a refund that was made outside pays of the return it is assigned to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from returns_service.commands.failed_refunds import take_over
from returns_service.commands.refunds import withdraw_or_supersede
from returns_service.domain import money
from returns_service.domain.policy import Policy
from returns_service.domain.stripe_objects import RefundSnapshot
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.return_case.rows import holds_decision, rows_of
from returns_service.store.tables import Refund, ReturnAuthorization

ASSIGNED = "A refund made outside was assigned to the return before this one was sent; no money has moved."


@dataclass(frozen=True, slots=True)
class AssignedUnits:
    """Units of a line that the refund paid."""

    line: str
    units: int


async def pay_return(case: ReturnCase, row: Refund, lines: Sequence[AssignedUnits] = ()) -> None:
    """Let a refund made outside pay a return: what people decided and is open first, else what is due.

    So what they took off is not due again, and what they gave is not given twice. `lines`: the units that it was for;
    then only what was decided about their lines goes first.
    """
    named = {units.line for units in lines}
    failed = next(
        (refund for refund in case.unresolved_refunds() if holds_decision(refund) and _is_about(refund, named)), None
    )
    if failed is None:
        rows = named_rows(case, lines, row.amount) if lines else assigned_rows(case, row.amount)
        case.write_breakdown(row, rows)
        return
    open_rows = sorted(case.open_rows()[failed.id], key=lambda part: part.line not in named)
    limit = money.total(open_rows)
    case.write_breakdown(row, _take_with_rest(open_rows, limit, row.amount))
    case.tx.add(row)
    await take_over(case.tx, failed, row, left=limit - row.amount)


def _is_about(refund: Refund, lines: Collection[str]) -> bool:
    """Return whether a refund pays for one of these lines; where none is given, every refund does."""
    return not lines or any(part.line in lines for part in rows_of(refund))


async def make_room(case: ReturnCase) -> None:
    """Withdraw or supersede what would pay a second time what a refund made outside has paid of a return."""
    for refund in case.refunds:
        if refund.superseded_at is None:
            await withdraw_or_supersede(case, refund, "refund_assigned", ASSIGNED)


def assigned_rows(case: ReturnCase, amount: int) -> list[money.Row]:
    """Return the rows that a refund made outside pays of a return: the due ones, then an `unallocated` rest.

    Before what is due outside Stripe comes what a refund in doubt would pay: somebody saw it hang, and paid instead.
    """
    ways, rows = case.due_rows(), list[money.Row]()
    in_doubt = [refund for refund in case.refunds if refund.status in ("submitted", "unknown")]
    for unpaid in (ways.refund, _due_rows(in_doubt), ways.outside):
        if share := min(amount - money.total(rows), money.due(unpaid)):
            rows += money.take(unpaid, share)
    return _with_rest(rows, amount)


def _due_rows(refunds: Iterable[Refund]) -> list[money.Row]:
    """Return what refunds pay of what was due: without what people decided."""
    return [row for refund in refunds for row in rows_of(refund) if not row.adjustment]


def _take_with_rest(rows: Sequence[money.Row], most: int, amount: int) -> list[money.Row]:
    """Return what an amount pays of `rows`, at most `most` of it, and its rest as `unallocated`; minor units."""
    return _with_rest(money.take(rows, min(amount, most)) if most else [], amount)


def _with_rest(rows: list[money.Row], amount: int) -> list[money.Row]:
    """Return rows that come to an amount, minor units: what they leave of it is `unallocated`."""
    if rest := amount - money.total(rows):
        return [*rows, money.Row("unallocated", rest, description="Refunded outside this service")]
    return rows


def named_rows(case: ReturnCase, lines: Sequence[AssignedUnits], amount: int) -> list[money.Row]:
    """Return rows of the named units that sum to the amount: what they are worth, and the rest as goodwill."""
    of = {line.id: line for line in case.money_lines()}
    rows: list[money.Row] = []
    left = amount
    for named in lines:
        line = of[named.line]
        worth = money.line_value(line.total_amount, line.quantity, named.units, money.step(case.row.currency))
        value = min(left, worth)
        if value > 0:
            rows.append(money.Row("line", value, line.id, named.units, line.title))
            left -= value
    if left:
        rows.append(money.Row("goodwill", left, description="Refunded outside beyond these units", adjustment=True))
    return rows


async def assign_by_metadata(
    locked: LockedPayment, by: Actor, policy: Policy, row: Refund, seen: RefundSnapshot
) -> ReturnCase | None:
    """Assign a refund made outside whose metadata names a return of this payment."""
    found = await locked.tx.get(ReturnAuthorization, seen.metadata.get("return_id", ""))
    if found is None or found.payment_id != locked.row.id or found.state in ("declined", "canceled"):
        return None
    case = await case_under_lock(locked, by, policy, found.id)
    await make_room(case)
    row.return_id = found.id
    await pay_return(case, row)
    return case
