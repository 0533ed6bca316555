"""Templates to answers: escaped by default, a strict policy for what a page may load, amounts and times in one form."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context as TemplateContext
from litestar import MediaType, Response
from markupsafe import Markup, escape

from returns_service.commands.sessions import scan_token
from returns_service.domain.money import format_amount
from returns_service.queries.return_views import COUNTED_TO
from returns_service.web.errors import request_id_of
from returns_service.web.pages.navigation import places_for
from returns_service.web.pages.page import PageCall
from returns_service.web.pages.visitor import AnyRequest

ROOM: Final = Path(__file__).parent
STATIC: Final = ROOM / "static"
FONTS: Final = Path(str(files("xstatic.pkg.roboto_fontface"))) / "data" / "fonts" / "roboto"
ZONE: Final = "returns_zone"  # the cookie in which a browser says its time zone
# Nothing is loaded from elsewhere, and nothing inline: markup in a customer's name can't do anything.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with `no-referrer` a browser would send `Origin: null` with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=()",
}
ICON_OF_STATE: Final = {
    "requested": "requested", "approved": "approved", "refunding": "refunding", "refunded": "refunded",
    "failed": "failed", "declined": "canceled", "canceled": "canceled",
}  # fmt: skip
_SYMBOL: Final = re.compile(r'<symbol id="i-(\w+)".*?</symbol>')


@cache
def static_version() -> str:
    """Return a hash of all static files: part of their addresses, so that browsers keep them for ever."""
    mark = hashlib.sha256()
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            mark.update(f"{file.relative_to(STATIC)}\0".encode() + file.read_bytes())
    return mark.hexdigest()[:12]


def static(name: str) -> str:
    """Return the address of a static file."""
    return f"/static/{static_version()}/{name}"


@cache
def _symbols() -> dict[str, str]:
    text = (ROOM / "templates" / "icons.svg").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in _SYMBOL.finditer(text)}


@pass_context
def icon(context: TemplateContext, name: str) -> Markup:
    """Return an icon; the page brings its drawing along at the end. Raises KeyError for one there isn't."""
    need(context, name)
    return wrap('<svg class="i" aria-hidden="true"><use href="#i-', name, '"/></svg>')


@pass_context
def need(context: TemplateContext, *names: str) -> str:
    """Let the page bring along icons that only its script shows. Raises KeyError for one there isn't."""
    context["used_icons"].update({name: _symbols()[name] for name in names})
    return ""


@pass_context
def drawings(context: TemplateContext) -> Markup:
    """Return the drawings of the icons used above."""
    used: dict[str, str] = context["used_icons"]
    return as_html("\n".join(used[name] for name in sorted(used)))


def money(amount: int, currency: str) -> Markup:
    """Return an amount (minor units) as `62.35 EUR`, isolated: right-to-left text would put its minus behind."""
    number, _, code = format_amount(amount, currency).rpartition(" ")
    return wrap('<bdi class="money">', number, f' <span class="cur">{escape(code)}</span></bdi>')


@pass_context
def moment(context: TemplateContext, at: datetime) -> Markup:
    """Return a time as `23 Nov 2026, 14:07 CET`, in the reader's zone."""
    there = at.astimezone(context["zone"])
    return _time(at, f"{there.day} {there:%b %Y, %H:%M} {zone_name(there)}")


@pass_context
def clock(context: TemplateContext, at: datetime) -> Markup:
    """Return the time of a day that the page names: `14:07 CET`."""
    there = at.astimezone(context["zone"])
    return _time(at, f"{there:%H:%M} {zone_name(there)}")


@pass_context
def lately(context: TemplateContext, at: datetime) -> Markup:
    """Return a time of the reader's own day as `14:07 CET`, an earlier one as `23 Nov 2026, 14:07 CET`."""
    is_today = at.astimezone(context["zone"]).date() == context["now"].astimezone(context["zone"]).date()
    return clock(context, at) if is_today else moment(context, at)


@pass_context
def day(context: TemplateContext, at: datetime) -> Markup:
    """Return a day as `23 Nov 2026`, in the reader's zone."""
    there = at.astimezone(context["zone"])
    return _time(at, f"{there.day} {there:%b %Y}")


@pass_context
def ago(context: TemplateContext, at: datetime) -> Markup:
    """Return how long ago a time was, in its largest unit: `3 days`; the page names the moment beside it or sorts."""
    seconds = max(0, int((context["now"] - at).total_seconds()))
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return _time(at, plural(seconds // size, unit))
    return _time(at, "just now")


def _time(at: datetime, text: str) -> Markup:
    written = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    return wrap(f'<time datetime="{written}">', text, "</time>")


def zone_name(there: datetime) -> str:
    """Return a zone's short name; for zones that have none, its distance from UTC."""
    name = there.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def bdi(text: object) -> Markup:
    """Return strangers' text, escaped and isolated: it can turn nothing around it."""
    return wrap("<bdi>", text, "</bdi>")


def isolate(text: str) -> str:
    """Return strangers' text for a plain sentence: what may run from right to left turns nothing around it."""
    return text if text.isascii() else f"\u2068{text}\u2069"


def as_html(text: str) -> Markup:
    """Return text as HTML that is HTML already: ours, or escaped before."""
    return Markup(text)  # noqa: S704 - the one place where somebody's word is taken for it


def wrap(before: str, text: object, after: str) -> Markup:
    """Return text, escaped, between two pieces of markup. `Markup.format` does it too, many times as slowly."""
    return as_html(f"{before}{escape(text)}{after}")


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return `1 unit`, `2 units`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def show_number(number: int) -> str:
    """Return how many there are as people read it: `1,000+` where the count went no further than COUNTED_TO."""
    return f"{COUNTED_TO:,}+" if number == COUNTED_TO + 1 else f"{number:,}"


def browser_name(user_agent: str | None) -> str:
    """Return what people call a browser: `Firefox on Windows`. The order matters: most of them name each other."""
    text = user_agent or ""
    browser = next((name for word, name in _BROWSERS if word in text), "Browser")
    system = next((name for word, name in _SYSTEMS if word in text), None)
    return f"{browser} on {system}" if system else browser


def zone_of(request: AnyRequest) -> ZoneInfo:
    """Return the reader's time zone, as their browser says; UTC until it has said so."""
    name = request.cookies.get(ZONE, "").replace("%2F", "/")
    return ZoneInfo(name if name in _zones() else "UTC")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


_BROWSERS: Final = (
    ("Firefox/", "Firefox"), ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"),
    ("Chrome/", "Chrome"), ("CriOS/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl"),
)  # fmt: skip
_SYSTEMS: Final = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip
ENVIRONMENT: Final = Environment(
    loader=PackageLoader("returns_service.web.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,  # the files of a release don't change: no look at each for each page
)
ENVIRONMENT.globals.update(i=icon, need=need, drawings=drawings, static=static, icons=ICON_OF_STATE, money=money)
ENVIRONMENT.filters.update(
    money=money,
    moment=moment,
    clock=clock,
    lately=lately,
    day=day,
    ago=ago,
    bdi=bdi,
    plural=plural,
    browser=browser_name,
    number=show_number,
)


def render(call: PageCall, template: str, *, status: int = 200, **values: Any) -> Response[str]:
    """Return a page. `values` are the template's own; visitor, place and time come with every page."""
    signed_in = call.visitor.signed_in
    common = {
        **everywhere(call.request),
        "form_token": call.visitor.form_token,
        "user": signed_in.user if signed_in else None,
        "session": signed_in.session if signed_in else None,
        "scan_token": scan_token(signed_in.session) if signed_in else "",
        "device": call.visitor.device,
        "places": places_for(call.visitor.scopes, call.paths),
        "waiting": call.waiting,
    }
    return answer(ENVIRONMENT.get_template(template).render(common | values), status)


def render_alone(request: AnyRequest, template: str, *, status: int, **values: Any) -> Response[str]:
    """Return a page that needs neither session nor database: for when something went wrong."""
    return answer(ENVIRONMENT.get_template(template).render(everywhere(request) | values), status)


def everywhere(request: AnyRequest) -> dict[str, Any]:
    """Return what every page knows, whoever looks at it."""
    context = request.app.state.context
    return {
        "here": request.url.path,
        "livemode": context.settings.livemode,
        "shop_name": context.settings.shop_name,
        "now": context.database.now(),
        "zone": zone_of(request),
        "request_id": request_id_of(request),
        "used_icons": {},
        "form_token": "",
    }


def answer(html: str, status: int = 200) -> Response[str]:
    """Return HTML as an answer, with the headers of every page."""
    return Response(html, status_code=status, media_type=MediaType.HTML, headers=HEADERS)
