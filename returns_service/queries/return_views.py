"""The views of the list of returns: what each holds, how many there are, one page of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import and_, func, not_, select, union_all
from sqlmodel import col

from returns_service.domain.return_machine import State
from returns_service.queries.returns import finds_often, search_conditions
from returns_service.store.columns import among
from returns_service.store.database import Tx
from returns_service.store.ids import first_id
from returns_service.store.tables import Receipt, ReturnAuthorization
from returns_service.store.tables.core import PARCEL_HERE_STATES

ListedView = Literal["all", "approval", "parcel", "parcel-here", "refunding", "failed", "done"]
LISTED_VIEWS: Final[tuple[ListedView, ...]] = get_args(ListedView)
COUNTED_TO: Final = 1000  # a view's number is exact up to here: more is `1,000+`
PAGE: Final = 25
DONE: Final[tuple[State, ...]] = ("refunded", "declined", "canceled")
MOST_CURRENCIES: Final = 50

_ROW = ReturnAuthorization
_STANDING = select(col(Receipt.id)).where(col(Receipt.return_id) == col(_ROW.id), col(Receipt.reversed_at).is_(None))
# A value, not EXISTS: PostgreSQL may turn that into a join, which reads all receipts first.
_HAS_PARCEL = _STANDING.limit(1).correlate(_ROW).scalar_subquery().is_not(None)


@dataclass(frozen=True, slots=True)
class ListedBy:
    """What a list of returns is narrowed to."""

    view: ListedView = "all"
    words: str = ""
    currency: str | None = None
    asked_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page of ids, newest first, and whether there are newer and older ones."""

    ids: Sequence[str]
    newer: bool
    older: bool


def view_condition(view: ListedView) -> Any:
    """Return what returns of a view have in common; None for all of them."""
    state = col(_ROW.state)
    conditions: dict[ListedView, Any] = {
        "approval": state == "requested",
        "parcel": and_(state == "approved", col(_ROW.closed_at).is_(None), not_(_HAS_PARCEL)),
        # Both conditions are those of an index over the few returns that may be meant.
        "parcel-here": and_(among(_ROW.state, PARCEL_HERE_STATES), col(_ROW.arrived_at).is_not(None), _HAS_PARCEL),
        "refunding": state == "refunding",
        "failed": state == "failed",
        "done": state.in_(DONE),
    }
    return conditions.get(view)


def chosen_ids(by: ListedBy, state: State | None = None, *, frequent: bool = False) -> Any:
    """Return the statement for the ids that a list is narrowed to, of one state if that is given.

    `frequent`: as `finds_often` says of its words. The caller orders and limits it.
    """
    conditions = [view_condition(by.view), *search_conditions(by.words, frequent=frequent)]
    conditions.append(col(_ROW.currency) == by.currency if by.currency else None)
    conditions.append(col(_ROW.state) == state if state else None)
    if by.asked_from:
        conditions += [col(_ROW.created_at) >= by.asked_from, col(_ROW.id) >= first_id("ret", by.asked_from)]
    return select(col(_ROW.id)).where(*(condition for condition in conditions if condition is not None))


async def count_views(tx: Tx, by: ListedBy) -> dict[ListedView, int]:
    """Return how many returns each view holds, one more than COUNTED_TO where there are more; one statement."""
    lists = [ListedBy(view, by.words, by.currency, by.asked_from) for view in LISTED_VIEWS]
    return dict(zip(LISTED_VIEWS, await count_lists(tx, lists), strict=True))


async def count_lists(tx: Tx, lists: Sequence[ListedBy]) -> Sequence[int]:
    """Return how many returns each list holds, one more than COUNTED_TO where there are more; one statement."""
    numbers = []
    for by in lists:
        some = chosen_ids(by, frequent=await finds_often(tx, by.words)).limit(COUNTED_TO + 1).subquery()
        numbers.append(select(func.count()).select_from(some).scalar_subquery())
    return list((await tx.execute(select(*numbers))).one()) if numbers else []


async def page_of_ids(tx: Tx, by: ListedBy, *, after: str = "", before: str = "", limit: int = PAGE) -> ListedPage:
    """Return one page of ids, older than `after` or newer than `before`."""
    row_id = col(_ROW.id)
    order = row_id.asc() if before else row_id.desc()

    def page_of(of: Any) -> Any:
        place = row_id > before if before else row_id < after if after else None
        return (of if place is None else of.where(place)).order_by(order).limit(limit + 1)

    frequent = await finds_often(tx, by.words)
    if by.view == "done" and (frequent or not by.words):
        # Each state's newest by their own index: to find all and sort them takes longer each year.
        pages = (page_of(chosen_ids(by, state, frequent=frequent)).subquery().select() for state in DONE)
        statement = page_of(select(row_id).where(row_id.in_(union_all(*pages))))
    else:
        statement = page_of(chosen_ids(by, frequent=frequent))
    found = list((await tx.execute(statement)).scalars().all())
    more, ids = len(found) > limit, found[:limit]
    if before:
        return ListedPage(ids[::-1], newer=more, older=bool(ids))
    return ListedPage(ids, newer=bool(after), older=more)


async def currencies_in_use(tx: Tx) -> Sequence[str]:
    """Return the currencies that returns are in."""
    currency = col(_ROW.currency)
    used = select(func.min(currency).label("currency")).cte("used", recursive=True)
    following = select(func.min(currency)).where(currency > used.c.currency).correlate(used).scalar_subquery()
    used = used.union_all(select(following).where(used.c.currency.is_not(None)))  # one look into the index for each
    chosen = select(used.c.currency).where(used.c.currency.is_not(None)).limit(MOST_CURRENCIES)
    return (await tx.execute(chosen)).scalars().all()


async def oldest_by_view(tx: Tx, views: Sequence[ListedView]) -> Mapping[ListedView, datetime | None]:
    """Return when the oldest return of each view was asked for."""
    chosen = []
    for view in views:
        condition = view_condition(view)
        oldest = select(col(_ROW.created_at)).order_by(col(_ROW.id)).limit(1)
        chosen.append((oldest if condition is None else oldest.where(condition)).scalar_subquery())
    return dict(zip(views, (await tx.execute(select(*chosen))).one(), strict=True))
