"""Pay a failed refund again, whole or in parts, or give it up.

A part takes rows out of the failed refund, and the rest waits for a person as before. The failed refund is superseded
once nothing of it is left; it stays as history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from returns_service.commands.refund_metadata import RESERVED_METADATA
from returns_service.commands.refunds import (
    check_step,
    follow_order,
    lock_refund,
    queue_refund,
    record_created,
    refund_payment,
    stripe_reason,
    supersede,
)
from returns_service.domain import money
from returns_service.domain.money_open import subtract
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import FINAL
from returns_service.domain.vocabulary import STRIPE_REASONS, find_word
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.decided_alone import decided_again
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.return_case.overpaid import note_overpaid
from returns_service.return_case.rows import holds_decision, is_paid_by_second, open_amount, rows_of
from returns_service.return_case.transition import check_edge, fire, record_transition
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund


@dataclass(frozen=True, slots=True)
class Part:
    """How much of what is open is paid. `amount` in minor units, None: all of it.

    `waive` gives up the rest, for which a `reason` is named; without it the rest stays open.
    """

    amount: int | None = None
    waive: bool = False
    reason: str | None = None

    def check(self) -> None:
        """Raise Problem reason_required where something is given up without a reason."""
        if self.waive and not self.reason:
            raise Problem("reason_required", param="reason")

    def rows(self, rows: Sequence[money.Row]) -> list[money.Row]:
        """Return the rows that pay this part of `rows`, which come to more than that."""
        if self.amount is None or self.amount >= money.total(rows):
            return list(rows)
        if self.waive:
            return money.adjust_to(rows, self.amount, self.reason or "")
        return money.take(rows, self.amount)


WHOLE = Part()


def choose_failed(case: ReturnCase, refund_id: str | None) -> Refund:
    """Return the failed refund that is meant. Raises Problem which_refund, no_failed_refund, …"""
    failed = case.unresolved_refunds()
    if refund_id is None:
        if len(failed) > 1:
            raise Problem("which_refund", refunds=[r.id for r in failed], param="refund")
        if not failed:
            raise Problem("no_failed_refund")
        return failed[0]
    found = next((r for r in case.refunds if r.id == refund_id), None)
    if found is None:
        raise Problem("not_found", f"This return has no refund {refund_id}.", param="refund")
    if found.superseded_at is not None:
        raise Problem("refund_superseded", superseded_by=found.superseded_by)
    if found not in failed:
        raise Problem("refund_not_failed", refund_status=found.status)
    return found


async def retry(
    tx: Tx,
    by: Actor,
    policy: Policy,
    return_id: str,
    *,
    refund_id: str | None,
    part: Part,
    override_reason: str | None,
    note: str | None = None,
) -> tuple[Refund, Payment]:
    """Try a failed refund again, whole or in part: a new row with a new key. Raises Problem."""
    part.check()
    case = await lock_case(tx, by, policy, return_id)
    check_edge(case, "retry")
    overpaid_before = case.overpaid_amount
    failed = choose_failed(case, refund_id)
    open_rows = case.open_rows()[failed.id]
    limit, amount = money.total(open_rows), part.amount
    rows = part.rows(open_rows)
    if amount is not None and amount != limit:
        if amount > limit and not override_reason:
            raise Problem("override_required", amount=amount, failed_amount=limit)
        check_step(amount, case.row.currency)
    if amount is not None and amount > limit:
        rows = money.adjust_to(rows, amount, override_reason or "")
    why, in_spite = (part.reason, override_reason) if part.reason else (override_reason or note, None)
    override = bool(override_reason)
    before = fire(case, "retry", why=why, amount=money.total(rows), override=override)
    # Nobody here gave the reason of one made outside: `fraudulent` blocks a card, and Stripe takes not every word.
    reason = (failed.reason if failed.source != "external" else None) or stripe_reason(case, None)
    made = queue_refund(
        case, rows, reason=reason, note=note or failed.note, override=override, supersedes=failed.id,
        decided=decided_again(failed, money.total(rows), limit),
    )  # fmt: skip
    await take_over(tx, failed, made, left=0 if part.waive else money.total(subtract(open_rows, rows)))
    note_overpaid(case, overpaid_before)
    await record_transition(case, "retry", before, why, in_spite)
    await record_created(case.lock, by, made, case)
    await follow_order(case)
    return made, case.payment


async def take_over(tx: Tx, failed: Refund, made: Refund, *, left: int) -> None:
    """Let a refund take the place of a failed one, of which `left` (minor units) stays open."""
    made.supersedes, failed.amount_open, failed.updated_at = failed.id, max(0, left), tx.now
    if failed.amount_open == 0:
        await supersede(tx, failed, made)


def reopen_failed(locked: LockedPayment, made: Refund) -> None:
    """Open the failed refund again whose place `made` took, since `made` pays something else now.

    What a return is due is worked out anew from its counts, so its failed refund opens only where people decided
    something in it. A failed refund of no return is open again for what no other refund has paid of it.
    """
    failed, made.supersedes = locked.refund(made.supersedes), None
    if failed is None:
        return
    if failed.return_id is not None:
        if failed.superseded_by is not None and holds_decision(failed):
            failed.superseded_at = failed.superseded_by = failed.amount_open = None
        return
    parts = [row for part in locked.refunds if part.supersedes == failed.id for row in rows_of(part)]
    failed.amount_open = max(0, failed.amount - sum(row.amount for row in parts if row.kind == "standalone"))
    if failed.amount_open:
        failed.superseded_at = failed.superseded_by = None
    failed.updated_at = locked.tx.now


async def retry_standalone(
    tx: Tx,
    by: Actor,
    policy: Policy,
    refund_id: str,
    *,
    part: Part,
    override_reason: str | None = None,
    note: str | None = None,
) -> tuple[Refund, Payment]:
    """Try a failed refund of no return again, whole or in part; more needs a reason. Raises Problem."""
    part.check()
    locked, old = await lock_refund(tx, refund_id)
    check_standalone_failed(old)
    if is_paid_by_second(old, locked.refunds) and not override_reason:
        raise Problem("external_refund_open")
    limit = open_amount(old)
    amount = limit if part.amount is None else part.amount
    if amount > limit and not override_reason:
        raise Problem("override_required", amount=amount, failed_amount=limit)
    reason = find_word(STRIPE_REASONS, old.reason)
    metadata = {key: value for key, value in old.details.items() if key not in RESERVED_METADATA}
    rows = part.rows(standalone_open_rows(old))
    if amount > limit:
        rows = money.adjust_to(rows, amount, override_reason or "")
    words = note or part.reason or override_reason or old.note
    made = await refund_payment(
        locked, by, policy, amount=amount, reason=reason, metadata=metadata, note=words,
        override_reason=override_reason, rows=rows, decided=decided_again(old, amount, limit),
    )  # fmt: skip
    await take_over(tx, old, made, left=0 if part.waive else limit - amount)
    return made, locked.row


def standalone_open_rows(refund: Refund) -> list[money.Row]:
    """Return what is open of a failed refund of no return, as the one row that it is."""
    description = rows_of(refund)[0].description if refund.breakdown else "Refund"
    return [money.Row("standalone", open_amount(refund), description=description, adjustment=True)]


def check_standalone_failed(refund: Refund) -> None:
    """Raise Problem unless the refund of no return has failed and nobody has dealt with it yet."""
    if refund.superseded_at is not None:
        raise Problem("refund_superseded", superseded_by=refund.superseded_by)
    of_others = refund.source == "external" and refund.supersedes is None  # Stripe tells whoever made it
    if refund.status not in (*FINAL, "withdrawn") or of_others:
        raise Problem("refund_not_failed", refund_status=refund.status)
