"""The texts of the customer's pages: ours in each language, and the shop's own in their place."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any, Final, get_args

from returns_service.shop_settings import Language
from returns_service.web.pages.rendering import ROOM

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)


class PortalTextsError(ValueError):
    """A file of the shop's texts is wrong; the message names it and what to correct."""


@cache
def texts_of(language: Language, folder: Path | None = None) -> Mapping[str, str]:
    """Return a language's texts by their keys: `ask.head`, and for a plural's forms `ask.left.one`.

    Raises PortalTextsError for a file of the shop's that is wrong.
    """
    ours = dict(_flatten(tomllib.loads((ROOM / "texts" / f"{language}.toml").read_text(encoding="utf-8"))))
    return ours | own_texts(language, folder, ours)


def own_texts(language: Language, folder: Path | None, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the texts that the shop's folder has instead of ours. Raises PortalTextsError."""
    file = folder / f"{language}.toml" if folder is not None else None
    if file is None or not file.is_file():
        return {}
    try:
        own = dict(_flatten(tomllib.loads(file.read_text(encoding="utf-8-sig"))))
    except (OSError, ValueError) as error:
        raise PortalTextsError(f"{file}: {error}") from None
    for key, text in own.items():
        if key not in ours:
            raise PortalTextsError(f"{file}: there is no text {key}")
        if not isinstance(text, str) or not text.strip():
            raise PortalTextsError(f"{file}: {key}: must be a text")
        if not names_in(text) <= (allowed := _names_of(key, ours)):
            named = ", ".join(f"{{{name}}}" for name in sorted(allowed)) or "no {name}"
            raise PortalTextsError(f"{file}: {key}: it may use {named} alone")
    return own


def check_texts(folder: Path | None) -> None:
    """Raise PortalTextsError where a file of the shop's texts is wrong."""
    for language in LANGUAGES:
        texts_of(language, folder)


def names_in(text: str) -> set[str]:
    """Return the names that a text uses; anything but a plain `{name}` is a name that no text may use."""
    try:
        return {f"{name}{':' * bool(spec)}{conversion or ''}" for _, name, spec, conversion in Formatter().parse(text)
                if name is not None}  # fmt: skip
    except ValueError:
        return {text}


def plural_of(key: str) -> str | None:
    """Return the key that a plural's form belongs to; None for other texts."""
    return key.rpartition(".")[0] if key.count(".") == 2 else None


def _names_of(key: str, ours: Mapping[str, str]) -> set[str]:
    """Return the names that a text may use: those of ours, for a plural of any of its forms."""
    plural = plural_of(key)
    keys = [key] if plural is None else [form for form in ours if plural_of(form) == plural]
    return {name for form in keys for name in names_in(ours[form])}


def _flatten(texts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in texts.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
