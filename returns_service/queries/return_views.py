"""The views of the list of returns: what each holds, how many there are, one page of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import and_, exists, func, not_, select
from sqlmodel import col

from returns_service.queries.returns import search_conditions
from returns_service.store.database import Tx
from returns_service.store.tables import Receipt, ReturnAuthorization

ListedView = Literal["all", "approval", "parcel", "parcel-here", "refunding", "failed", "done"]
LISTED_VIEWS: Final[tuple[ListedView, ...]] = get_args(ListedView)
COUNTED_TO: Final = 1000  # a view's number is exact up to here: more is `1,000+`
PAGE: Final = 25

_ROW = ReturnAuthorization
_HAS_PARCEL = exists().where(col(Receipt.return_id) == col(_ROW.id), col(Receipt.reversed_at).is_(None))


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
        "parcel-here": and_(state.in_(("approved", "refunding", "failed")), _HAS_PARCEL),
        "refunding": state == "refunding",
        "failed": state == "failed",
        "done": state.in_(("refunded", "declined", "canceled")),
    }
    return conditions.get(view)


def chosen_ids(by: ListedBy) -> Any:
    """Return the statement for the ids that a list is narrowed to; the caller orders and limits it."""
    conditions = [view_condition(by.view), *search_conditions(by.words)]
    conditions.append(col(_ROW.currency) == by.currency if by.currency else None)
    conditions.append(col(_ROW.created_at) >= by.asked_from if by.asked_from else None)
    return select(col(_ROW.id)).where(*(condition for condition in conditions if condition is not None))


async def count_views(tx: Tx, by: ListedBy) -> dict[ListedView, int]:
    """Return how many returns each view holds, one more than COUNTED_TO where there are more; one statement."""
    lists = [ListedBy(view, by.words, by.currency, by.asked_from) for view in LISTED_VIEWS]
    return dict(zip(LISTED_VIEWS, await count_lists(tx, lists), strict=True))


async def count_lists(tx: Tx, lists: Sequence[ListedBy]) -> Sequence[int]:
    """Return how many returns each list holds, one more than COUNTED_TO where there are more; one statement."""
    numbers = []
    for by in lists:
        some = chosen_ids(by).limit(COUNTED_TO + 1).subquery()
        numbers.append(select(func.count()).select_from(some).scalar_subquery())
    return list((await tx.execute(select(*numbers))).one()) if numbers else []


async def page_of_ids(tx: Tx, by: ListedBy, *, after: str = "", before: str = "", limit: int = PAGE) -> ListedPage:
    """Return one page of ids, older than `after` or newer than `before`."""
    of, row_id = chosen_ids(by), col(_ROW.id)
    if before:
        of = of.where(row_id > before).order_by(row_id.asc())
    else:
        of = (of.where(row_id < after) if after else of).order_by(row_id.desc())
    found = list((await tx.execute(of.limit(limit + 1))).scalars().all())
    more, ids = len(found) > limit, found[:limit]
    if before:
        return ListedPage(ids[::-1], newer=more, older=bool(ids))
    return ListedPage(ids, newer=bool(after), older=more)


async def currencies_in_use(tx: Tx) -> Sequence[str]:
    """Return the currencies that returns are in."""
    return sorted((await tx.execute(select(col(_ROW.currency)).distinct().limit(50))).scalars().all())


async def oldest_by_view(tx: Tx, views: Sequence[ListedView]) -> Mapping[ListedView, datetime | None]:
    """Return since when the oldest return of each view is there."""
    chosen = []
    for view in views:
        condition = view_condition(view)
        oldest = select(func.min(col(_ROW.created_at)))
        chosen.append((oldest if condition is None else oldest.where(condition)).scalar_subquery())
    return dict(zip(views, (await tx.execute(select(*chosen))).one(), strict=True))
