"""The customer's portal: a link's session, what the customer ticks, their photos, and the return that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, update
from sqlmodel import col, select

from returns_service.commands import returns
from returns_service.commands.photo_store import add_to_store, free_bytes
from returns_service.commands.return_lines import NewLine, check_worth, lines_on_returns, ordered_numbers
from returns_service.commands.returns import NewReturn, check_not_ahead, check_payment
from returns_service.domain import money
from returns_service.domain.policy import Policy
from returns_service.domain.portal_offer import Offer, OfferedLine, Pick, amount_of, make_offer
from returns_service.domain.problems import Problem
from returns_service.domain.search_text import normalise
from returns_service.domain.vocabulary import RESOLUTIONS, Resolution
from returns_service.images import CleanPhoto
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import case_under_lock
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.shop_settings import Language
from returns_service.store.database import Tx, select_for_update
from returns_service.store.tables import Payment, Photo, PortalSession, ReturnAuthorization

MOST_PHOTOS = 12  # of one link: a few an item


@dataclass(frozen=True, slots=True)
class NewSession:
    """What the shop offers its customer to send back."""

    order_id: str
    currency: str
    lines: Sequence[NewLine]
    shipping_amount: int = 0
    customer_email: str | None = None
    customer_name: str | None = None
    purchased_at: datetime | None = None
    delivered_at: datetime | None = None
    locale: Language | None = None
    resolutions: Sequence[Resolution] = RESOLUTIONS  # that the customer may choose from


async def create_session(locked: LockedPayment, by: Actor, asked: NewSession, days: int) -> PortalSession:
    """Let a customer ask for a return on a locked payment, for some days. Raises Problem before anything is written."""
    tx, payment = locked.tx, locked.row
    check_payment(payment, asked.currency)
    check_not_ahead(tx, "purchased_at", asked.purchased_at)
    check_not_ahead(tx, "delivered_at", asked.delivered_at)
    check_worth(payment, asked.lines, asked.shipping_amount)  # units on other returns show once a return is asked for
    named = [line.order_line for line in asked.lines if line.order_line is not None]
    ordered_numbers(asked.order_id, await lines_on_returns(tx, asked.order_id, named), asked.lines)
    row = PortalSession(
        id=tx.new_id("pts"),
        order_id=asked.order_id,
        payment_id=payment.id,
        currency=payment.currency,
        lines=[_describe_line(line) for line in asked.lines],
        shipping_amount=asked.shipping_amount,
        purchased_at=asked.purchased_at,
        delivered_at=asked.delivered_at,
        customer_email=asked.customer_email,
        email_text=normalise(asked.customer_email) if asked.customer_email else None,
        customer_name=asked.customer_name,
        locale=asked.locale,
        resolutions=list(asked.resolutions),
        created_by=by.actor,
        created_at=tx.now,
        expires_at=(tx.now + timedelta(days=days)).replace(microsecond=0),
    )
    tx.add(row)
    return row


def _describe_line(line: NewLine) -> dict[str, object]:
    return {
        "sku": line.sku, "title": line.title, "quantity": line.quantity, "total_amount": line.total_amount,
        "order_line": line.order_line, "quantity_ordered": line.quantity_ordered, "barcodes": list(line.barcodes),
    }  # fmt: skip


async def lock_session(tx: Tx, session_id: str) -> PortalSession:
    """Return a session, locked. Raises Problem not_found."""
    chosen = select(PortalSession).where(col(PortalSession.id) == session_id)
    found = await select_for_update(tx, chosen, PortalSession)
    if not found:
        raise Problem("not_found", f"There is no portal session {session_id}.")
    return found[0]


async def save_picks(
    tx: Tx, session_id: str, picks: Sequence[Pick], photos: Mapping[int, Sequence[CleanPhoto]], *,
    locale: Language, storage_mb: int,
) -> int:  # fmt: skip
    """Keep what the customer has ticked so far, and their photos; return how many photos there was no room for.

    Once the return is sent, nothing changes any more.
    """
    row = await lock_session(tx, session_id)
    if await sent_return(tx, row) is not None:
        return 0
    row.picks, row.locale = [pick.to_dict() for pick in picks], locale
    kept = (await tx.exec(select(func.count()).where(col(Photo.portal_session_id) == row.id))).one()
    free, left = await free_bytes(tx, storage_mb), 0
    for line, line_photos in photos.items():
        for photo in line_photos:
            if kept >= MOST_PHOTOS or len(photo.content) > free:
                left += 1
                continue
            kept, free = kept + 1, free - len(photo.content)
            add_to_store(tx, photo, portal_session_id=row.id, line=line)
    return left


async def remove_photos(tx: Tx, session_id: str, line: int) -> None:
    """Delete the photos of one line that are not sent yet."""
    row = await lock_session(tx, session_id)
    if await sent_return(tx, row) is None:
        mine = (col(Photo.portal_session_id) == row.id) & (col(Photo.line) == line) & col(Photo.return_id).is_(None)
        await tx.execute(delete(Photo).where(mine))


async def sent_return(tx: Tx, row: PortalSession) -> ReturnAuthorization | None:
    """Return what was sent by this link; None where nothing was, or the customer has kept it after all."""
    sent = await tx.get(ReturnAuthorization, row.return_id) if row.return_id else None
    return sent if sent is not None and sent.state != "canceled" else None


async def send(
    locked: LockedPayment, by: Actor, policy: Policy, session_id: str, amount: int, amount_outside: int = 0
) -> ReturnCase:
    """Make the return of what is ticked, with exactly the amounts (minor units) that the customer was shown.

    `amount` goes back to how they paid, `amount_outside` is given as store credit or in an exchange. A link makes one
    return: sent again, it is the one that is there. Raises Problem; the transaction is then given up.
    """
    tx = locked.tx
    row = await lock_session(tx, session_id)
    if row.payment_id != locked.row.id:
        raise Problem("payment_mismatch")
    if (sent := await sent_return(tx, row)) is not None:
        return await case_under_lock(locked, by, policy, sent.id)
    case = await returns.create(locked, by, policy, new_return_of(row, picks_of(row)))
    exact, exact_outside = case.estimate, case.estimate_outside
    if (exact, exact_outside) != (amount, amount_outside):  # the order's other returns count too: all is given up
        raise Problem("version_mismatch", "The amount is another by now.", amount=exact, amount_outside=exact_outside)
    await tx.flush()
    row.return_id = case.row.id
    mine = (col(Photo.portal_session_id) == row.id) & col(Photo.line).in_([pick.line for pick in picks_of(row)])
    await tx.execute(update(Photo).where(mine).values(return_id=case.row.id))
    return case


async def offer_for(tx: Tx, policy: Policy, row: PortalSession, payment: Payment, picks: Sequence[Pick]) -> Offer:
    """Return what the customer would get back if they sent the picks now, and whether a person would have to approve.

    It is what the return itself would say: the payment's other returns and refunds count too.
    """
    case = await returns.draft(tx, policy, payment, new_return_of(row, picks))
    decision = returns.decision_on(case)
    return make_offer(
        policy,
        [OfferedLine.from_dict(line) for line in row.lines],
        picks,
        terms=case.terms(money.accept_all(case.money_lines()), planned=True),
        decision=decision,
        approves_itself=returns.approves_itself(case, decision),
    )


def new_return_of(row: PortalSession, picks: Sequence[Pick]) -> NewReturn:
    """Return the return that these items make."""
    lines = [OfferedLine.from_dict(line) for line in row.lines]
    wanted = {pick.resolution for pick in picks}
    return NewReturn(
        order_id=row.order_id,
        currency=row.currency,
        lines=[_new_line(lines[pick.line], pick, row.currency) for pick in picks],
        resolution=wanted.pop() if len(wanted) == 1 else "refund",
        shipping_amount=row.shipping_amount,
        customer_email=row.customer_email,
        customer_name=row.customer_name,
        purchased_at=row.purchased_at,
        delivered_at=row.delivered_at,
    )


def picks_of(row: PortalSession) -> list[Pick]:
    """Return what the customer has ticked."""
    return [Pick.from_dict(pick) for pick in row.picks]


def _new_line(line: OfferedLine, pick: Pick, currency: str) -> NewLine:
    return NewLine(
        sku=line.sku,
        quantity=pick.quantity,
        total_amount=amount_of(line, pick.quantity, currency),
        title=line.title,
        reason=pick.reason or None,
        order_line=line.order_line,
        quantity_ordered=line.quantity_ordered,
        barcodes=line.barcodes,
        resolution=pick.resolution,
    )
