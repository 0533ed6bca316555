"""What customers read: the same texts in every language, each used, amounts exact in every currency."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from returns_service.domain.money import exponent
from returns_service.domain.policy import DEFAULT
from returns_service.domain.return_machine import STATES
from returns_service.images import PhotoFault
from returns_service.shop_settings import Language
from returns_service.web.pages.portal_words import LANGUAGES, Words, texts_of
from returns_service.web.pages.rendering import ROOM

UTC_ZONE = ZoneInfo("UTC")
CURRENCIES = ("usd", "eur", "jpy", "kwd", "bhd", "isk", "ugx", "huf", "clp", "twd", "krw", "idr")


def test_all_languages_say_the_same_things() -> None:
    def names(text: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text))

    english = texts_of("en")
    for language in LANGUAGES:
        texts = texts_of(language)
        assert set(texts) == set(english), language
        assert {key: names(text) for key, text in texts.items()} == {key: names(text) for key, text in english.items()}
        assert all(text.strip() for text in texts.values())


def test_every_text_is_used() -> None:
    code = "".join(path.read_text() for path in [*ROOM.glob("portal*.py"), *(ROOM / "templates").glob("portal*.html")])
    states = [*(state for state in STATES if state != "canceled"), "partly", "here"]
    kinds = ("home", "wrong", "over", "form", "large", "slow", "ours")
    computed = {f"reason.{reason}" for reason in DEFAULT.reasons} | {"row.label", "row.shipping"}
    computed |= {f"wrong.photo_{fault}" for fault in get_args(PhotoFault)}
    computed |= {f"sent.{state}{part}" for state in states for part in ("", "_text")}
    computed |= {f"problem.{kind}_{part}" for kind in kinds for part in ("title", "head", "text")}
    assert {key for key in texts_of("en") if f'"{key}"' not in code and f"'{key}'" not in code} - computed == set()


def test_every_reason_of_the_default_policy_is_translated() -> None:
    for language in LANGUAGES:
        words = Words(language, UTC_ZONE)
        for code, reason in DEFAULT.reasons.items():
            assert f"reason.{code}" in texts_of(language)
            shown = reason.label if language == "en" else texts_of(language)[f"reason.{code}"]
            assert words.reason(code, DEFAULT) == shown


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("currency", CURRENCIES)
def test_an_amount_is_never_rounded(language: Language, currency: str) -> None:
    words = Words(language, UTC_ZONE)
    for amount in (0, 1, 99, 100, 123_456_700, -4900):
        digits = re.sub(r"[^0-9]", "", words.plain_cash(amount, currency))
        whole = abs(amount) % 100 == 0 and currency in ("isk", "ugx")
        expected = f"{abs(amount) // 100}" if whole else f"{abs(amount):0{exponent(currency) + 1}d}"
        assert digits == expected, words.plain_cash(amount, currency)
        assert ("−" in words.plain_cash(amount, currency)) == (amount < 0)


def test_values_are_escaped_and_isolated() -> None:
    said = Words("ar", UTC_ZONE)("ask.order", order="<b>1</b>")
    assert "<bdi>&lt;b&gt;1&lt;/b&gt;</bdi>" in said


def test_days_and_times_carry_the_readers_zone() -> None:
    words = Words("de", ZoneInfo("Europe/Berlin"))
    at = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert words.day(at) == '<time datetime="2026-12-31T23:30:00Z">1. Januar 2027</time>'
    assert "00:30 CET" in words.moment(at)
