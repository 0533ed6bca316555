"""What customers read, in their language: texts, amounts and times; every value from outside escaped and isolated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_time
from babel.lists import format_list
from markupsafe import Markup, escape

from returns_service.domain.policy import DEFAULT, Policy
from returns_service.localize import LOCALES, write_amount
from returns_service.shop_settings import Language
from returns_service.web.context import context_of
from returns_service.web.pages.portal_texts import LANGUAGES, texts_of
from returns_service.web.pages.rendering import as_html, bdi, zone_name, zone_of
from returns_service.web.pages.visitor import AnyRequest

_RIGHT_TO_LEFT: Final = frozenset({"ar"})
_WISH: Final = re.compile(r"\s*([A-Za-z]{2,3})(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?\s*")


@dataclass(frozen=True, slots=True)
class Words:
    """One customer's language and time zone, and where the shop's own texts are."""

    language: Language
    zone: ZoneInfo
    folder: Path | None = None

    @property
    def direction(self) -> str:
        """Which way the language is written."""
        return "rtl" if self.language in _RIGHT_TO_LEFT else "ltr"

    def __call__(self, key: str, **values: Any) -> Markup:
        """Return a text as HTML; values that are no HTML yet are escaped and isolated."""
        shown = {name: value if isinstance(value, Markup) else bdi(value) for name, value in values.items()}
        return escape(texts_of(self.language, self.folder)[key]).format(**shown)

    def count(self, key: str, number: int, **values: Any) -> Markup:
        """Return a text in the form that the language has for a number; the text may name it as `{count}`."""
        form = Locale.parse(LOCALES[self.language]).plural_form(number)
        return self(f"{key}.{form}", count=number, **values)

    def join(self, parts: Sequence[Markup]) -> Markup:
        """Return parts as the language lists them: `a, b and c`."""
        return as_html(format_list(parts, locale=LOCALES[self.language]))

    def plain(self, key: str, **values: Any) -> str:
        """Return a text for a title or an attribute, which hold no HTML."""
        return texts_of(self.language, self.folder)[key].format(**values)

    def cash(self, amount: int, currency: str) -> Markup:
        """Return an amount (minor units) as the language writes it, isolated."""
        return Markup('<bdi class="num">{}</bdi>').format(self.plain_cash(amount, currency))

    def plain_cash(self, amount: int, currency: str) -> str:
        """Return an amount (minor units) as the language writes it. Never rounded: as many decimals as it has."""
        return write_amount(amount, currency, self.language)

    def day(self, at: datetime) -> Markup:
        """Return a day as the language writes it, in the reader's zone."""
        there = at.astimezone(self.zone)
        return self._time(at, format_date(there, "long", locale=LOCALES[self.language]))

    def moment(self, at: datetime) -> Markup:
        """Return a time with its day and zone."""
        there = at.astimezone(self.zone)
        locale = LOCALES[self.language]
        text = f"{format_date(there, 'medium', locale=locale)}, {format_time(there, 'HH:mm', locale=locale)}"
        return self._time(at, f"{text} {zone_name(there)}")

    def reason(self, code: str, policy: Policy) -> str:
        """Return a reason as customers read it: a shop's own label as it is, one of ours in their language."""
        entry = policy.reasons.get(code)
        if entry is None:
            return code
        ours = DEFAULT.reasons.get(code)
        translated = texts_of(self.language, self.folder).get(f"reason.{code}")
        return translated if translated and ours is not None and ours.label == entry.label else entry.label

    @staticmethod
    def _time(at: datetime, text: str) -> Markup:
        written = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
        return Markup('<time datetime="{}">{}</time>').format(written, text)


def words_for(request: AnyRequest, locale: str | None, default: Language) -> Words:
    """Return the words for a reader: the language they chose, the session's, the browser's, else the shop's."""
    folder = context_of(request).settings.portal_texts
    return Words(_language(request, locale, default), zone_of(request), folder)


def _language(request: AnyRequest, locale: str | None, default: Language) -> Language:
    for wanted in (request.query_params.get("lang"), locale):
        for language in LANGUAGES:
            if wanted == language:
                return language
    wishes: list[tuple[float, Language]] = []
    for part in request.headers.get("accept-language", "")[:500].split(","):
        match = _WISH.fullmatch(part)
        wishes += [(float(match[2] or 1), known) for known in LANGUAGES if match and match[1].lower() == known]
    best = max(wishes, key=lambda wish: wish[0], default=(0.0, default))
    return best[1] if best[0] > 0 else default
