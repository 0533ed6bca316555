"""What a scanner or a person types means: a clean code, a return it names, or the line of a return.

Scanners add blanks and control characters, change case and pad article numbers. A GTIN of 8, 12 or 13 digits is the
same number as its 14 digits with leading zeros (GS1 General Specifications, 3.3.2).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

LONGEST_CODE: Final = 200  # characters, as long as an SKU may be
GTIN_DIGITS = (8, 12, 13, 14)
UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")  # control and format characters, blanks and separators
NO_TEXT = ("Cs", "Co", "Cn")  # halves of surrogate pairs, private and unassigned characters: no database text
BLANK_LETTERS = "\u2800\u115f\u1160"  # Unicode files them under letters and symbols, and they show nothing
_RETURN_ID: Final = re.compile(r"ret_[0-9a-z]{26}")
_SLIP: Final = re.compile(r"[0-9]{10}")


class Scannable(Protocol):
    """What a scan can name: a line by its SKU or one of its barcodes."""

    sku: str
    barcodes: list[str] | None


Line = TypeVar("Line", bound=Scannable)


def clean_code(text: str) -> str:
    """Return a code as people see it: single blanks between words, no control characters, one form (NFKC)."""
    plain = unicodedata.normalize("NFKC", text)
    spaced = "".join(" " if character.isspace() else character for character in plain)
    seen = (c for c in spaced if c == " " or unicodedata.category(c) not in (*UNSEEN, *NO_TEXT))
    return " ".join("".join(seen).split())[:LONGEST_CODE]


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


class LineFinder(Generic[Line]):
    """The lines of a return, by all that a scan can name them by; each name is read once for any number of scans."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._by_sku: dict[str, list[Line]] = {}
        for line in lines:
            self._by_sku.setdefault(line.sku, []).append(line)
        self._by_reading: dict[Callable[[str], str | None], dict[str, list[Line]]] = {}

    def find(self, scan: str) -> list[Line]:
        """Return the lines of the one SKU that a scan means, full ones too; none where it means none, or several.

        An exact match comes first, then one without regard to case, then one of article numbers.
        """
        if exact := self._by_sku.get(scan):  # before a barcode of another line that reads the same
            return exact
        for reading in READINGS:
            wanted = reading(scan)
            if wanted and (matches := self._read_by(reading).get(wanted)):
                return matches if len({line.sku for line in matches}) == 1 else []
        return []

    def _read_by(self, reading: Callable[[str], str | None]) -> dict[str, list[Line]]:
        if reading not in self._by_reading:
            found: dict[str, list[Line]] = {}
            for line in self._lines:
                for name in {reading(name) for name in (line.sku, *(line.barcodes or ()))}:
                    if name:
                        found.setdefault(name, []).append(line)
            self._by_reading[reading] = found
        return self._by_reading[reading]


def lines_for(scan: str, lines: Sequence[Line]) -> list[Line]:
    """Return the lines that one scan means; see LineFinder."""
    return LineFinder(lines).find(scan)


def return_named_in(code: str) -> str | None:
    """Return the return's id or the slip's ten digits in a clean code, which may be the address in a QR code."""
    if match := _RETURN_ID.search(code.lower()):
        return match[0]
    return code if _SLIP.fullmatch(code) else None
