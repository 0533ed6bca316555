"""Views of the list of returns that a person keeps under a name: theirs alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import delete
from sqlmodel import col, select

from returns_service.domain.problems import Problem
from returns_service.domain.search_text import normalise
from returns_service.store.database import Tx, select_for_update
from returns_service.store.tables import SavedView, StaffUser

MOST_VIEWS: Final = 20  # of one person: each is counted whenever the list is shown
LONGEST_NAME: Final = 40  # characters


async def save_view(tx: Tx, user_id: str, name: str, filters: Mapping[str, str]) -> SavedView:
    """Keep filters under a name; a name that is taken then stands for these. Raises Problem invalid_request."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Problem("invalid_request", f"Name the view, in up to {LONGEST_NAME} characters.", param="name")
    await select_for_update(tx, select(StaffUser).where(col(StaffUser.id) == user_id), StaffUser)  # two tabs at once
    mine = await views_of(tx, user_id)
    known = next((view for view in mine if view.name == name), None)
    if known is not None:
        known.filters = dict(filters)
        return known
    if len(mine) >= MOST_VIEWS:
        raise Problem("invalid_request", f"You have {MOST_VIEWS} views. Delete one first.", param="name")
    view = SavedView(id=tx.new_id("sav"), user_id=user_id, name=name, filters=dict(filters), created_at=tx.now)
    tx.add(view)
    return view


async def delete_view(tx: Tx, user_id: str, view_id: str) -> None:
    """Delete one view of a person; where it is gone already, nothing changes."""
    await tx.execute(delete(SavedView).where(col(SavedView.id) == view_id, col(SavedView.user_id) == user_id))


async def views_of(tx: Tx, user_id: str) -> list[SavedView]:
    """Return a person's views, the oldest first."""
    chosen = select(SavedView).where(col(SavedView.user_id) == user_id).order_by(col(SavedView.id)).limit(MOST_VIEWS)
    return list((await tx.exec(chosen)).all())


async def forget_views(tx: Tx, names: Iterable[str]) -> int:
    """Delete the views that name a customer, by names as they are compared; return how many there were."""
    wanted, forgotten = [f" {name} " for name in names], 0
    for view in (await tx.exec(select(SavedView))).all():
        said = f" {normalise(view.name)} {normalise(view.filters.get('q', ''))} "
        if any(name in said for name in wanted):
            await tx.delete(view)
            forgotten += 1
    return forgotten
