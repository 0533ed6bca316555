"""The shop's look on the customer's pages: its name, its colours after a contrast check, its logo; and their frame."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from litestar import Response, get

from returns_service.domain.contrast import contrast, mix, readable_on, text_on
from returns_service.domain.problems import Problem
from returns_service.settings import Settings
from returns_service.shop_settings import LOGO_TYPES
from returns_service.web.context import context_of
from returns_service.web.pages.assets import FOR_EVER
from returns_service.web.pages.portal_texts import LANGUAGES, texts_of
from returns_service.web.pages.portal_words import Words
from returns_service.web.pages.rendering import ENVIRONMENT, answer, everywhere
from returns_service.web.pages.visitor import AnyRequest

LIGHT_GROUND: Final = "#f3f4f6"  # the page's own, a shade darker than its cards: links stand on both
DARK_SURFACE: Final = "#222428"  # the lightest that text stands on in the dark
_DAY_SECONDS: Final = 86_400


class Palette(NamedTuple):
    """A shop's colour as it is used on light pages and on dark ones, and the colour of text on each."""

    light: str
    on_light: str
    dark: str
    on_dark: str

    @property
    def contrasts(self) -> tuple[tuple[str, float], ...]:
        """The contrast of each thing that is read in the colour or on it, by its name."""
        return (
            ("Links, on light", contrast(self.light, LIGHT_GROUND)),
            ("Text of buttons, on light", contrast(self.on_light, self.light)),
            ("Links, on dark", contrast(self.dark, DARK_SURFACE)),
            ("Text of buttons, on dark", contrast(self.on_dark, self.dark)),
        )


def palette_of(colour: str) -> Palette:
    """Return a colour made readable on light and on dark, whatever it is."""
    light, dark = readable_on(colour, LIGHT_GROUND), readable_on(colour, DARK_SURFACE)
    return Palette(light, text_on(light), dark, text_on(dark))


def stylesheet(colour: str) -> str:
    """Return the shop's colours as a stylesheet."""
    light, on_light, dark, on_dark = palette_of(colour)
    return (
        f".shop {{ --accent: light-dark({light}, {dark}); --on-accent: light-dark({on_light}, {on_dark});"
        f" --link: light-dark({light}, {dark}); }}\n"
        f".shop .btn.primary:hover {{ background: light-dark({_away(light, on_light)}, {_away(dark, on_dark)}); }}\n"
        "@supports not (color: light-dark(red, red)) {"
        f" .shop {{ --accent: {light}; --on-accent: {on_light}; --link: {light}; }} }}\n"
    )


def _away(colour: str, text: str) -> str:
    """Return the colour of a button under the pointer: a little further from its text, so that it is read as well."""
    return mix(colour, "#000000" if text == "#ffffff" else "#ffffff", 0.15)


@get("/portal/look.css", include_in_schema=False, name="portal_look", sync_to_thread=False)
def look(request: AnyRequest) -> Response[str]:
    """Return the shop's colours; the address changes with them."""
    sheet = stylesheet(context_of(request).settings.shop_colour)
    return Response(sheet, media_type="text/css", headers={"Cache-Control": FOR_EVER.to_header()})


@get("/portal/logo", include_in_schema=False, name="portal_logo", sync_to_thread=True)
def logo(request: AnyRequest) -> Response[bytes]:
    """Return the shop's logo. A script in it would not run: the answer forbids it. Raises Problem not_found."""
    path = context_of(request).settings.shop_logo
    if path is None or not path.is_file():
        raise Problem("not_found", "There is no logo.")
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "Cache-Control": f"public, max-age={_DAY_SECONDS}",
    }
    return Response(path.read_bytes(), media_type=LOGO_TYPES[path.suffix.lower()], headers=headers)


def render_portal(
    request: AnyRequest, template: str, words: Words, *, status: int = 200, order: str | None = None, **values: Any
) -> Response[str]:
    """Return a page of the portal, in the customer's language and the shop's look."""
    settings = context_of(request).settings
    shown = everywhere(request) | {
        "t": words,
        "shop": settings,
        "look": look_address(settings),
        "languages": [(language, texts_of(language)["name"], Words(language, words.zone)) for language in LANGUAGES],
        "order": order,
        "mail_link": f"mailto:{quote(settings.shop_email, safe='@')}" if settings.shop_email else None,
        "flash": None,
    }
    return answer(ENVIRONMENT.get_template(template).render(shown | values), status)


def look_address(settings: Settings) -> str:
    """Return the address of the shop's colours; it changes with them."""
    return f"/portal/look.css?{hashlib.sha256(settings.shop_colour.encode()).hexdigest()[:8]}"


HANDLERS: Final = (look, logo)
