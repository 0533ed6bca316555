"""Home: what waits for this person, what happened last, how the whole is doing; at first, the first steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from litestar import Response

from returns_service.domain.roles import ADMIN, APPROVE, PAY, RECEIVE
from returns_service.domain.vocabulary import DeskKind
from returns_service.queries.desk import DeskTotal
from returns_service.queries.history import latest_happenings, names_of
from returns_service.queries.home import (
    Listeners,
    any_return,
    count_put_aside,
    first_steps,
    last_comparison,
    listeners,
)
from returns_service.queries.return_views import ListedBy, count_views, oldest_by_view
from returns_service.queries.system_health import SystemHealth
from returns_service.store.database import Tx
from returns_service.web.pages.desk_words import KINDS
from returns_service.web.pages.live import live_address
from returns_service.web.pages.page import Page, PageCall, read_desk, shows
from returns_service.web.pages.rendering import plural, render, show_number
from returns_service.web.pages.stories import tell

LATEST: Final = 8
MOST_KINDS: Final = 3  # of the desk, named under its number


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that is a link."""

    path: str
    label: str
    number: str
    text: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class HealthLine:
    """One line of how the whole is doing: `ok`, `warn` or `danger`."""

    kind: str
    text: str
    at: datetime | None = None


@shows("/")
async def show_home(call: PageCall) -> Response[Any]:
    """Show what waits for this person, and what happened last."""
    async with call.context.database.reading() as tx:
        live = await live_address(tx)
        happenings = await latest_happenings(tx, limit=LATEST)
        if not happenings and not await any_return(tx):
            steps = await first_steps(tx)
            return render(call, "first_run.html", live=live, steps=steps, api=_api(call), is_admin=call.may(ADMIN))
        desk = await read_desk(call, tx)
        figures = await _figures(call, tx, desk.totals)
        latest = [(happening, tell(happening.event)) for happening in happenings]
        names = await names_of(tx, sorted({story.by for _, story in latest}))
        lines = await _health(tx, desk.health, desk.totals)
    return render(
        call, "home.html", live=live, figures=figures, latest=latest, names=names, health=lines,
        reasons={code: reason.label for code, reason in call.context.policy.reasons.items()},
        link_works_again=call.context.reusable_links,
    )  # fmt: skip


def _api(call: PageCall) -> str:
    """Return where programs reach the service."""
    return call.context.settings.public_url or str(call.request.base_url).rstrip("/")


def _waiting(path: str, label: str, number: int, oldest: datetime | None) -> Figure:
    """Return how many wait, and how long the first of them has."""
    return Figure(path, label, show_number(number), "longest wait" if oldest else "nothing waits", oldest)


async def _figures(call: PageCall, tx: Tx, desk: Sequence[DeskTotal]) -> list[Figure]:
    views = await count_views(tx, ListedBy())
    oldest = await oldest_by_view(tx, ("approval", "parcel-here"))
    figures = []
    if call.may(PAY):
        waiting = [total for total in desk if total.number]
        named = [f"{total.number:,} {KINDS[total.kind].short}" for total in waiting[:MOST_KINDS]]
        rest = sum(total.number for total in waiting[MOST_KINDS:])
        text = ", ".join(named + ([f"{rest:,} more"] if rest else [])) or "Nothing needs a person"
        figures.append(Figure("/refunds", "Refund desk", f"{sum(t.number for t in waiting):,}", text))
    if call.may(APPROVE):
        figures.append(_waiting("/approvals", "Approvals", views["approval"], oldest["approval"]))
        second = next(total for total in desk if total.kind == "second_person")
        if second.number:
            figures.append(_waiting("/approvals", "Second person", second.number, second.oldest))
    here = "/returns?view=parcel-here"
    figures.append(_waiting(here, "Parcel here, not paid", views["parcel-here"], oldest["parcel-here"]))
    if call.may(RECEIVE) or call.may(PAY):
        aside = await count_put_aside(tx)
        where = "/receive" if call.may(RECEIVE) else "/refunds?kind=undeclared_item"
        text = f"{plural(aside.parcels, 'parcel')} without a return" if aside.parcels else "units nobody announced"
        figures.append(Figure(where, "Put aside at the dock", f"{aside.items + aside.parcels:,}", text))
    if len(figures) < 4:
        parcel = show_number(views["parcel"])
        figures.append(Figure("/returns?view=parcel", "Waiting for the parcel", parcel, "approved, nothing received"))
    return figures


async def _health(tx: Tx, health: SystemHealth, desk: Sequence[DeskTotal]) -> list[HealthLine]:
    """Return how the whole is doing, what is wrong first."""
    numbers: dict[DeskKind, int] = {total.kind: total.number for total in desk}
    lines = []
    if numbers["stripe_refuses"]:
        lines.append(HealthLine("danger", "Stripe refuses our key: see the refund desk"))
    if health.calls_pause:
        lines.append(HealthLine("danger", "Stripe gives no answer: calls pause, one is tried every few seconds"))
    if health.overdue_since is not None:
        text = f"{plural(health.overdue, 'refund')} overdue: does a worker run?"
        lines.append(HealthLine("danger", text, health.overdue_since))
    lines.extend(_listeners(await listeners(tx)))
    run = await last_comparison(tx)
    if run is None:
        lines.append(HealthLine("ok", "Not compared with Stripe yet: it is done once a day"))
    elif run.differing:
        lines.append(HealthLine("danger", f"{plural(run.differing, 'difference')} from Stripe", run.finished_at))
    else:
        lines.append(HealthLine("ok", "Our books and Stripe’s agree to the cent", run.finished_at))
    if health.overdue_since is None and not health.calls_pause:
        lines.append(HealthLine("ok", "No refund is overdue"))
    return lines


def _listeners(told: Listeners) -> list[HealthLine]:
    total = told.enabled + told.disabled
    if told.disabled:
        return [HealthLine("danger", f"{told.disabled} of {plural(total, 'webhook endpoint')} given up")]
    if told.failing:
        text = f"{told.failing} of {plural(total, 'webhook endpoint')} fails; {plural(told.waiting, 'call')} wait"
        return [HealthLine("warn", text, told.failing_since)]
    return [HealthLine("ok", f"{plural(told.enabled, 'webhook endpoint')} told of everything")] if told.enabled else []


PAGES: Final[tuple[Page, ...]] = (show_home,)
