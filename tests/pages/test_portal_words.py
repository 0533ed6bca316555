"""What customers read: the same texts in every language, each used, amounts exact in every currency."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from pydantic import SecretStr

from returns_service.domain.money import exponent
from returns_service.domain.policy import DEFAULT
from returns_service.domain.return_machine import STATES
from returns_service.domain.vocabulary import RESOLUTIONS
from returns_service.images import PhotoFault
from returns_service.localize import LOCALES
from returns_service.settings import Settings, SettingsError
from returns_service.shop_settings import Language
from returns_service.web.pages.portal_texts import LANGUAGES, PortalTextsError, names_in, plural_of, texts_of
from returns_service.web.pages.portal_words import Words
from returns_service.web.pages.rendering import ROOM
from returns_service.wiring import check_portal_texts

UTC_ZONE = ZoneInfo("UTC")
CURRENCIES = ("usd", "eur", "jpy", "kwd", "bhd", "isk", "ugx", "huf", "clp", "twd", "krw", "idr")


def test_all_languages_say_the_same_things() -> None:
    english = names_by_key("en")
    for language in LANGUAGES:
        assert names_by_key(language) == english, language
        assert all(text.strip() for text in texts_of(language).values())


def names_by_key(language: Language) -> dict[str, set[str]]:
    """Return the names that each text may use, a plural's over all its forms."""
    found: dict[str, set[str]] = {}
    for key, text in texts_of(language).items():
        found.setdefault(plural_of(key) or key, set()).update(names_in(text))
    return found


def test_the_shops_own_words_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text(
        '[sent]\napproved = "Bring it to our <shop>"\n[ask]\nleft.one = "One left"', encoding="utf-8"
    )
    words = Words("en", UTC_ZONE, tmp_path)
    assert words("sent.approved") == "Bring it to our &lt;shop&gt;"
    assert words.count("ask.left", 1) == "One left"
    assert words.count("ask.left", 2) == Words("en", UTC_ZONE).count("ask.left", 2)
    assert Words("de", UTC_ZONE, tmp_path)("sent.approved") == Words("de", UTC_ZONE)("sent.approved")


@pytest.mark.parametrize(
    "toml, says",
    [('[sent]\nno = "x"', "there is no text sent.no"), ('[sent]\napproved = " "', "sent.approved: must be a text"),
     ('[sent]\napproved_text = "{amount}"', r"it may use \{what\} alone"), ("[sent]\napproved = 1", "must be a text"),
     ('[sent]\napproved_text = "{what.x}"', "alone"), ('[sent]\napproved_text = "{what!r}"', "alone"),
     ('[sent]\napproved_text = "{"', "alone"), ('[ask]\nleft.dual = "x"', "there is no text ask.left.dual"),
     ("x", "toml")],
)  # fmt: skip
def test_words_that_are_wrong_are_named_at_the_start(tmp_path: Path, toml: str, says: str) -> None:
    (tmp_path / "en.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(PortalTextsError, match=says):
        texts_of("en", tmp_path)
    settings = Settings(stripe_secret_key=SecretStr("sk_test_x"), portal_texts=tmp_path)
    with pytest.raises(SettingsError, match="RETURNS_PORTAL_TEXTS"):
        check_portal_texts(settings)


def test_every_plural_has_all_forms_of_its_language_and_no_other() -> None:
    for language in LANGUAGES:
        forms: dict[str, set[str]] = {}
        for key in texts_of(language):
            if plural := plural_of(key):
                forms.setdefault(plural, set()).add(key.rpartition(".")[2])
        assert forms, language
        rule = Locale.parse(LOCALES[language]).plural_form
        assert {plural: rule.tags | {"other"} for plural in forms} == forms, language


@pytest.mark.parametrize(
    "language, number, says",
    [("en", 1, "1 photo kept"), ("en", 2, "2 photos kept"), ("de", 1, "1 Foto gespeichert"),
     ("ar", 1, "صورة واحدة محفوظة"), ("ar", 2, "صورتان محفوظتان"), ("ar", 3, "3 صور محفوظة"),
     ("ar", 11, "11 صورة محفوظة")],
)  # fmt: skip
def test_a_number_takes_its_plural(language: Language, number: int, says: str) -> None:
    said = Words(language, UTC_ZONE).count("ask.photo_kept", number)
    assert re.sub(r"</?bdi>", "", said) == says


def test_parts_are_listed_as_the_language_does() -> None:
    parts = [Words("de", UTC_ZONE)("part.refund", amount="<1>"), Words("de", UTC_ZONE)("part.exchange", amount="2")]
    assert Words("de", UTC_ZONE).join(parts) == (
        "<bdi>&lt;1&gt;</bdi> zurück und einen Umtausch im Wert von <bdi>2</bdi>"
    )
    assert Words("en", UTC_ZONE).join(parts[:1]) == parts[0]


def test_every_text_is_used() -> None:
    code = "".join(path.read_text() for path in [*ROOM.glob("portal*.py"), *(ROOM / "templates").glob("portal*.html")])
    states = [*(state for state in STATES if state != "canceled"), "partly", "here"]
    kinds = ("home", "wrong", "over", "form", "large", "slow", "ours")
    computed = {f"reason.{reason}" for reason in DEFAULT.reasons} | {"row.label", "row.shipping"}
    computed |= {f"resolution.{resolution}" for resolution in RESOLUTIONS}
    computed |= {
        f"{place}{way}" for place in ("part.", "ask.given_") for way in ("store_credit", "exchange", "outside")
    }
    computed |= {"part.cash", "part.dispute"}
    computed |= {f"wrong.photo_{fault}" for fault in get_args(PhotoFault)}
    computed |= {f"sent.{state}{part}" for state in states for part in ("", "_text")}
    computed |= {f"problem.{kind}_{part}" for kind in kinds for part in ("title", "head", "text")}
    keys = {plural_of(key) or key for key in texts_of("en")}
    assert {key for key in keys if f'"{key}"' not in code and f"'{key}'" not in code} - computed == set()


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
