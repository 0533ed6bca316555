"""The customer's portal: by a signed link, tick items, see the amount, send; then the slip and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import structlog
from litestar import Response
from litestar.datastructures import UploadFile
from markupsafe import Markup

from returns_service.commands.portal import MOST_PHOTOS, remove_photos, save_picks
from returns_service.domain.portal_offer import Pick
from returns_service.domain.problems import Problem, ProblemCode
from returns_service.domain.signed_link import SignedLink, read_link
from returns_service.domain.vocabulary import find_word
from returns_service.images import LONGEST_PHOTO_BYTES, CleanPhoto, PhotoRefused, clean_photo
from returns_service.queries.portal import PortalView, view_session
from returns_service.return_case.events import Actor
from returns_service.web.errors import headers_of, request_id_of
from returns_service.web.operations.portal import SEND_PICKS
from returns_service.web.operations.returns import cancel_return
from returns_service.web.pages.forms import checked_once, new_once
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.perform import perform
from returns_service.web.pages.portal_look import render_portal
from returns_service.web.pages.portal_progress import (
    Shares,
    can_keep,
    headline_of,
    offer_notes,
    outside_word,
    path_of,
    qr_path,
    rows_of,
    shares_of,
    window_end,
)
from returns_service.web.pages.portal_words import Words, words_for

LONGEST_PORTAL_FORM_BYTES: Final = 4 * LONGEST_PHOTO_BYTES  # some photos at once; more of them go one after the other
KEEPS_IT: Final = "The customer keeps it."
UNITS: Final[tuple[ProblemCode, ...]] = (
    "units_already_returned",
    "quantity_exceeds_ordered",
    "quantity_ordered_differs",
)
BUSY: Final[tuple[ProblemCode, ...]] = ("stripe_unavailable", "stripe_refuses_us", "idempotency_key_in_use")
log = structlog.get_logger("returns.portal")


class OpenLink(NamedTuple):
    """A link in force, what it shows, and the words for who holds it."""

    token: str
    link: SignedLink
    view: PortalView
    words: Words


@dataclass
class Messages:
    """Says what is wrong with a form: for the whole of it, by item, and with an item's photos."""

    whole: list[Markup] = field(default_factory=list)
    by_item: dict[int, list[Markup]] = field(default_factory=dict)
    photos: dict[int, list[Markup]] = field(default_factory=dict)

    def add(self, place: int, message: Markup) -> None:
        """Say it at an item."""
        self.by_item.setdefault(place, []).append(message)

    def __bool__(self) -> bool:
        return bool(self.whole or self.by_item or self.photos)

    @property
    def first(self) -> list[Markup]:
        """What stands above the form."""
        at_fields = [message for found in (self.by_item, self.photos) for some in found.values() for message in some]
        return self.whole or at_fields


@shows("/portal", scope=None)
async def show_portal_home(call: PageCall) -> Response[Any]:
    """Say where a customer finds their link."""
    words = words_for(call.request, None, call.context.settings.shop_language)
    return render_portal(call.request, "portal_problem.html", words, kind="home")


@shows("/portal/{link:str}", scope=None)
async def show_portal(call: PageCall) -> Response[Any]:
    """Show what a link's order holds, or how far its return is."""
    opened = await _open(call)
    return opened if isinstance(opened, Response) else _page(call, opened)


async def _keep_ticks(call: PageCall, _: Problem) -> Response[Any]:
    """Keep what is ticked in a form of an earlier visit, and send nothing: its amount is looked at once more."""
    return await take_portal.work(
        replace(call, form={name: given for name, given in call.form.items() if name != "do"})
    )


@posts("/portal/{link:str}", scope=None, longest_bytes=LONGEST_PORTAL_FORM_BYTES, show_again=_keep_ticks)
async def take_portal(call: PageCall) -> Response[Any]:
    """Keep what is ticked; send it where that was asked, and the amount is the one that was shown."""
    opened = await _open(call)
    if isinstance(opened, Response):
        return opened
    if opened.view.case is not None:
        return redirect(_address(call, opened))
    picks, messages = _picks_in(call, opened), Messages()
    photos, left = await _photos_in(call, opened, messages)
    settings, database, session_id = call.context.settings, call.context.database, opened.link.id
    left += await database.run(
        lambda tx: save_picks(
            tx, session_id, picks, photos, locale=opened.words.language, storage_mb=settings.photo_storage_mb
        )
    )
    if left:
        messages.whole.append(opened.words("wrong.photo_no_room"))
    removed = call.field("remove")
    if removed.isascii() and removed.isdecimal():
        await database.run(lambda tx: remove_photos(tx, session_id, int(removed[:6])), safe_to_repeat=True)
    again = await _open(call)
    if isinstance(again, Response):
        return again
    if call.field("do") == "send" and not messages:
        return await _send(call, again)
    return _page(call, again, messages, status=422) if messages else redirect(_address(call, again, "#tally"))


@posts("/portal/{link:str}/cancel", scope=None)
async def keep_it(call: PageCall) -> Response[Any]:
    """Take the customer's return back while nothing has come of it."""
    opened = await _open(call)
    if isinstance(opened, Response):
        return opened
    case = opened.view.case
    if case is None:
        return redirect(_address(call, opened))
    path, by = {"return_id": case.row.id}, Actor(opened.link.id, request_id_of(call.request))
    try:
        await perform(call, cancel_return, path, {"reason": KEEPS_IT}, checked_once(call.field("once")), by=by)
    except Problem as problem:
        if problem.code not in ("invalid_transition", "money_moved", "override_required"):
            raise
        return _page(call, opened, Messages([opened.words("sent.keep_late")]), status=409)
    return redirect(_address(call, opened, kept="1"))


async def _open(call: PageCall) -> OpenLink | Response[Any]:
    """Return what a link shows; the page that says what is wrong with it otherwise."""
    token, settings, database = str(call.request.path_params["link"]), call.context.settings, call.context.database
    link = read_link(call.context.link_keys, token)
    words = words_for(call.request, None, settings.shop_language)
    if link is None:
        return render_portal(call.request, "portal_problem.html", words, status=404, kind="wrong")
    async with database.reading() as tx:
        view = await view_session(tx, call.context.policy, link.id)
    if view is None:
        return render_portal(call.request, "portal_problem.html", words, status=404, kind="wrong")
    words = words_for(call.request, view.session.locale, settings.shop_language)
    if link.is_over(database.now()):
        day = words.day(link.expires_at)
        return render_portal(
            call.request, "portal_problem.html", words, status=410, kind="over", day=day, sent=view.case is not None
        )
    return OpenLink(token, link, view, words)


def _picks_in(call: PageCall, opened: OpenLink) -> list[Pick]:
    """Return what the form ticks, as far as it can be picked."""
    ticked, offered = set(call.form.get("pick") or ()), opened.view.resolutions
    picks = []
    for item in opened.view.items:
        if str(item.place) not in ticked or not item.can_be_picked:
            continue
        typed, reason = call.field(f"quantity:{item.place}"), call.field(f"reason:{item.place}")
        units = int(typed) if typed.isascii() and typed.isdecimal() and len(typed) <= 7 else 1
        known = reason if reason in call.context.policy.reasons else ""
        wanted = find_word(offered, call.field(f"resolution:{item.place}")) or offered[0]
        picks.append(Pick(item.place, min(max(1, units), item.units_left), known, wanted))
    return picks


async def _photos_in(
    call: PageCall, opened: OpenLink, messages: Messages
) -> tuple[dict[int, Sequence[CleanPhoto]], int]:
    """Return each item's new photos as they are kept, and how many there is no room for; say at the item what is wrong.

    Those that a link has no room for are not even decoded: a form may bring a thousand.
    """
    room, left = max(0, MOST_PHOTOS - sum(opened.view.photos.values())), 0
    photos: dict[int, Sequence[CleanPhoto]] = {}
    for place in (item.place for item in opened.view.items):
        files = call.files.get(f"photo:{place}") or ()
        left += len(files[room:])
        photos[place] = await _clean_photos(call, opened, place, files[:room], messages)
        room -= len(files[:room])
    return photos, left


async def _clean_photos(
    call: PageCall, opened: OpenLink, place: int, files: Sequence[UploadFile], messages: Messages
) -> Sequence[CleanPhoto]:
    photos = []
    for file in files:
        try:
            photos.append(await _photo(call, file))
        except PhotoRefused as refused:
            name = file.filename.replace("\\", "/").rpartition("/")[2][:80]
            messages.photos.setdefault(place, []).append(opened.words(f"wrong.photo_{refused.fault}", file=name))
    return photos


async def _photo(call: PageCall, file: UploadFile) -> CleanPhoto:
    async with call.context.photo_slots:
        content = await file.read(LONGEST_PHOTO_BYTES + 1)
        return await asyncio.to_thread(clean_photo, content)


async def _send(call: PageCall, opened: OpenLink) -> Response[Any]:
    view, words = opened.view, opened.words
    messages = Messages()
    if view.case is not None:
        return redirect(_address(call, opened))
    if view.offer is None:
        messages.whole.append(words("wrong.nothing"))
    for place in view.reasons_missing:
        messages.add(place, words("wrong.reason"))
    if messages.by_item:
        messages.whole.append(words("wrong.reasons"))
    if messages or view.offer is None:
        return _page(call, opened, messages, status=422)
    shown = _read_shown(call)  # the command compares it with what the return would pay
    if shown is None:
        return _page(call, opened, Messages([_say_amount(opened, view.offer.amount)]), status=409)
    body = {"session": opened.link.id, "amount": shown.refunded, "amount_outside": shown.outside}
    by = Actor(opened.link.id, request_id_of(call.request))
    try:
        await perform(call, SEND_PICKS, {}, body, checked_once(call.field("once")), by=by)
    except Problem as problem:
        return await _show_refusal(call, opened, problem)
    return redirect(_address(call, opened, sent="1"))


def _read_shown(call: PageCall) -> Shares | None:
    """Return what the customer was shown when they pressed; None where the form doesn't say it."""
    shown = [call.field(name) for name in ("shown", "shown_outside")]
    if not all(text.isascii() and text.isdecimal() and len(text) <= 12 for text in shown):
        return None
    return Shares(*map(int, shown))


def _say_amount(opened: OpenLink, amount: int) -> Markup:
    return opened.words("wrong.changed", amount=opened.words.cash(amount, opened.view.session.currency))


async def _show_refusal(call: PageCall, opened: OpenLink, problem: Problem) -> Response[Any]:
    """Show the form again with what the shop's side said, in words that help a customer."""
    again = await _open(call)
    opened = opened if isinstance(again, Response) else again
    if opened.view.case is not None:  # another tab has sent it
        return redirect(_address(call, opened))
    exact: Shares | None = None
    if problem.code == "version_mismatch":
        exact = Shares(int(problem.facts["amount"]), int(problem.facts["amount_outside"]))
        message = _say_amount(opened, exact.both)
    elif problem.code in BUSY:
        message = opened.words("wrong.busy")
    else:
        message = opened.words("wrong.units" if problem.code in UNITS else "wrong.payment")
        log.warning("portal.refused", session=opened.link.id, code=problem.code, request_id=request_id_of(call.request))
    status = 409 if exact is not None else problem.kind.status
    page = _page(call, opened, Messages([message]), status=status, exact=exact)
    page.headers.update(headers_of(problem))
    return page


def _page(
    call: PageCall,
    opened: OpenLink,
    messages: Messages | None = None,
    *,
    status: int = 200,
    exact: Shares | None = None,
) -> Response[str]:
    """Return a link's page; `exact` is what the order's other returns leave of the offer."""
    view, words, settings = opened.view, opened.words, call.context.settings
    case = view.case
    common: dict[str, Any] = {
        "form_token": call.visitor.form_token,
        "session": view.session,
        "view": view,
        "messages": messages or Messages(),
        "action": _address(call, opened),
        "cancel_action": _address(call, opened, below="/cancel"),
        "once": new_once(),
        "policy": call.context.policy,
        "expires_at": opened.link.expires_at,
    }
    if case is None:
        offer = view.offer
        total = exact or shares_of(offer)
        common |= {
            "rows": rows_of(offer, view, words, total.both) if offer else [],
            "total": total,
            "given": outside_word(offer.wanted) if offer else "",
            "ends": window_end(view, call.context.policy),
            "notes": offer_notes(offer, call.context.policy, words),
            "flash": words("sent.kept") if call.query("kept") else None,
        }
        return render_portal(call.request, "portal.html", words, status=status, order=view.session.order_id, **common)
    common |= {
        "headline": headline_of(case, words, view.decline_reason),
        "steps": path_of(case, view, words),
        "qr": qr_path(case.row.slip_code or ""),
        "slip": case.row.slip_code if case.row.state in ("requested", "approved", "refunding") else None,
        "can_keep": can_keep(case),
        "flash": words("sent.done") if call.query("sent") else None,
        "address": settings.shop_address,
        "mails": settings.smtp is not None,
    }
    return render_portal(call.request, "portal_sent.html", words, status=status, order=view.session.order_id, **common)


def _address(call: PageCall, opened: OpenLink, fragment: str = "", *, below: str = "", **query: str) -> str:
    """Return the address of a link's page; a language that the reader chose stays chosen."""
    if call.request.query_params.get("lang") == opened.words.language:
        query["lang"] = opened.words.language
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/portal/{opened.token}{below}{'?' if parameters else ''}{parameters}{fragment}"


PAGES: Final[tuple[Page, ...]] = (show_portal_home, show_portal, take_portal, keep_it)
