"""What a scanner or a person types, and which of a return's lines it means.

Scanners add blanks and control characters, type another case, and write one product number (GTIN) with or without its
leading zeros: https://www.gs1.org/standards/id-keys/gtin
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

LONGEST_CODE: Final = 200  # characters, as long as an SKU may be
GTIN_LENGTHS: Final = (8, 12, 13, 14)
_RETURN_ID: Final = re.compile(r"ret_[0-9a-z]{26}")
_SLIP: Final = re.compile(r"[0-9]{10}")
T = TypeVar("T")


def clean_code(text: str) -> str:
    """Return a code without blanks around it and control characters in it, in one form of Unicode (NFKC)."""
    plain = unicodedata.normalize("NFKC", text)
    kept = "".join(" " if c.isspace() else c for c in plain if c.isspace() or not _is_control(c))
    return " ".join(kept.split())[:LONGEST_CODE]


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")


def meant_by(code: str, things: Mapping[T, Iterable[str]]) -> Sequence[T]:
    """Return the things that a clean code means, each with the codes it goes by.

    The ones with exactly this code, else the only one without regard to case, else the only one with this GTIN.
    """
    exact = [thing for thing, names in things.items() if code in map(clean_code, names)]
    if exact:
        return exact
    for same in (str.casefold, _gtin):
        wanted = same(code)
        close = [thing for thing, names in things.items() if wanted and wanted in map(same, map(clean_code, names))]
        if len(close) == 1:
            return close
    return []


def _gtin(code: str) -> str:
    """Return a product number without its leading zeros; empty for what is none."""
    return code.lstrip("0") if code.isascii() and code.isdecimal() and len(code) in GTIN_LENGTHS else ""


def return_named_in(code: str) -> str | None:
    """Return the return's id or the slip's ten digits in a code, which may be the address in a QR code."""
    if match := _RETURN_ID.search(code.lower()):
        return match[0]
    return code if _SLIP.fullmatch(code) else None
