"""What the customer's portal shows: the items with what is left of each, the offer, and how far the return is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import col, func, select

from returns_service.commands.portal import offer_for, picks_of, sent_return
from returns_service.commands.return_lines import lines_on_returns, ordered_numbers
from returns_service.domain.forgotten import pseudonym
from returns_service.domain.policy import Policy, decide
from returns_service.domain.portal_offer import Offer, OfferedLine, Pick
from returns_service.domain.vocabulary import RESOLUTIONS, Resolution
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_case
from returns_service.store.database import Tx
from returns_service.store.tables import Event, Payment, Photo, PortalSession, ReturnAuthorization


@dataclass(frozen=True, slots=True)
class Item:
    """One offered line as the customer may pick it."""

    place: int
    line: OfferedLine
    units_left: int  # that are on no return of the order yet
    excluded: bool  # the policy takes none of these back
    pick: Pick | None
    photos: int

    @property
    def can_be_picked(self) -> bool:
        """Whether the customer may send some of it back."""
        return self.units_left > 0 and not self.excluded


@dataclass(frozen=True, slots=True)
class PortalView:
    """Everything that one link's page shows. `case`: the return that was sent by it."""

    session: PortalSession
    payment: Payment
    items: list[Item]
    offer: Offer | None  # None: nothing is ticked
    case: ReturnCase | None = None
    sent_at: datetime | None = None
    decline_reason: str | None = None
    refunded_at: datetime | None = None
    photos: dict[int, int] = field(default_factory=dict)

    @property
    def resolutions(self) -> Sequence[Resolution]:
        """What the customer may choose from."""
        offered = self.session.resolutions or RESOLUTIONS
        return [word for word in RESOLUTIONS if word in offered]

    @property
    def reasons_missing(self) -> list[int]:
        """The places of ticked items that say no reason yet."""
        return [item.place for item in self.items if item.pick is not None and not item.pick.reason]


async def view_session(tx: Tx, policy: Policy, session_id: str) -> PortalView | None:
    """Return what a link's page shows; None where there is no such session (any more)."""
    row = await tx.get(PortalSession, session_id)
    if row is None:
        return None
    payment = await tx.get_one(Payment, row.payment_id)
    sent = await sent_return(tx, row)
    if sent is not None:
        return await _view_of_sent(tx, policy, row, payment, sent)
    lines = [OfferedLine.from_dict(line) for line in row.lines]
    units_left = await _units_left(tx, row, lines)
    photos = await _photos_by_line(tx, row)
    picks = {pick.line: pick for pick in picks_of(row)}
    items = [_item(policy, row, place, line, units_left, picks.get(place), photos) for place, line in enumerate(lines)]
    chosen = [item.pick for item in items if item.pick is not None]
    offer = await offer_for(tx, policy, row, payment, chosen) if chosen else None
    return PortalView(row, payment, items, offer, photos=photos)


def _item(
    policy: Policy, row: PortalSession, place: int, line: OfferedLine, units_left: dict[str, int], pick: Pick | None,
    photos: dict[int, int],
) -> Item:  # fmt: skip
    left = line.quantity
    if line.order_line is not None:
        left = min(left, units_left[line.order_line])
    rules = decide(
        policy, currency=row.currency, estimate=0, purchased_at=None, requested_at=row.created_at, skus=[line.sku]
    )
    item = Item(place, line, max(0, left), not rules.allowed, pick, photos.get(place, 0))
    return item if pick is None or (item.can_be_picked and pick.quantity <= left) else _without_pick(item)


def _without_pick(item: Item) -> Item:
    return Item(item.place, item.line, item.units_left, item.excluded, None, item.photos)


async def _units_left(tx: Tx, row: PortalSession, lines: Sequence[OfferedLine]) -> dict[str, int]:
    """Return how many units of each order line are on no return of the order yet.

    The number ordered is the one that its returns have told, else the link's own, else as many as it offers.
    """
    offered = {line.order_line: line.quantity for line in lines if line.order_line is not None}
    offered |= {line.order_line: line.quantity_ordered for line in lines if line.order_line and line.quantity_ordered}
    if not offered:
        return {}
    before = await lines_on_returns(tx, row.order_id, list(offered))
    told, taken = ordered_numbers(row.order_id, before, []), Counter[str]()
    for line in before:
        taken[pseudonym(line.order_line or "", row.order_id)] += line.quantity
    stand_ins = {name: pseudonym(name, row.order_id) for name in offered}
    return {name: told.get(stand_ins[name], units) - taken[stand_ins[name]] for name, units in offered.items()}


async def _photos_by_line(tx: Tx, row: PortalSession) -> dict[int, int]:
    chosen: Any = (
        select(Photo.line, func.count()).where(col(Photo.portal_session_id) == row.id).group_by(col(Photo.line))
    )
    return {line: number for line, number in (await tx.execute(chosen)).all() if line is not None}


async def _view_of_sent(
    tx: Tx, policy: Policy, row: PortalSession, payment: Payment, sent: ReturnAuthorization
) -> PortalView:  # fmt: skip
    case = await load_case(tx, policy, sent.id)
    reason = await _decline_reason(tx, sent.id) if sent.state == "declined" else None
    return PortalView(row, payment, [], None, case, sent.created_at, reason, await _refunded_at(tx, case))


async def _refunded_at(tx: Tx, case: ReturnCase) -> datetime | None:
    """Return when the last of a return's refunds that succeeded did so; None where none has."""
    paid = [refund.id for refund in case.refunds if refund.status == "succeeded"]
    of_paid = (col(Event.refund_id).in_(paid), col(Event.type).in_(("refund.created", "refund.status_changed")))
    return (await tx.exec(select(func.max(Event.created_at)).where(*of_paid))).one() if paid else None


async def _decline_reason(tx: Tx, return_id: str) -> str | None:
    """Return the sentence that a person wrote for the customer when they declined."""
    changed = select(Event).where(col(Event.return_id) == return_id, col(Event.type) == "return.state_changed")
    for event in (await tx.exec(changed.order_by(col(Event.sequence).desc()))).all():
        if event.data.get("trigger") == "decline":
            reason = event.data.get("reason")
            return reason if isinstance(reason, str) else None
    return None
