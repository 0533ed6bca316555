"""Which line a scan means: scanners add blanks and control characters, change case and pad article numbers.

A GTIN of 8, 12 or 13 digits is the same number as its 14 digits with leading zeros (GS1 General Specifications, 3.3.2).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

GTIN_DIGITS = (8, 12, 13, 14)
UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")  # control and format characters, blanks and separators
BLANK_LETTERS = "\u2800\u115f\u1160"  # Unicode files them under letters and symbols, and they show nothing


class Scannable(Protocol):
    """What a scan can name: a line by its SKU or one of its barcodes."""

    sku: str
    barcodes: list[str] | None


Line = TypeVar("Line", bound=Scannable)


def clean_scan(scan: str) -> str:
    """Return the characters of a scan that people mean: NFKC, without blanks and control characters."""
    text = unicodedata.normalize("NFKC", scan)
    seen = "".join(c for c in text if unicodedata.category(c) not in UNSEEN and c not in BLANK_LETTERS)
    return unicodedata.normalize("NFKC", seen)  # a letter and its accent may have stood apart


def as_gtin(scan: str) -> str | None:
    """Return the 14 digits of a scanned article number; None where it is none."""
    digits = clean_scan(scan)
    is_number = digits.isascii() and digits.isdigit() and len(digits) in GTIN_DIGITS
    return digits.zfill(14) if is_number else None


READINGS: tuple[Callable[[str], str | None], ...] = (clean_scan, lambda text: clean_scan(text).casefold(), as_gtin)


def lines_for(scan: str, lines: Sequence[Line]) -> list[Line]:
    """Return the lines of the one SKU that a scan means, full ones too; none where it means none, or several.

    An exact match comes first, then one without regard to case, then one of article numbers.
    """
    exact = [line for line in lines if line.sku == scan]  # whatever barcodes other lines carry
    if exact:
        return exact
    for reading in READINGS:
        wanted = reading(scan)
        names = [(line, {reading(name) for name in (line.sku, *(line.barcodes or ()))}) for line in lines]
        matches = [line for line, readings in names if wanted and wanted in readings]
        if matches:
            return matches if len({line.sku for line in matches}) == 1 else []
    return []
