"""A return's slip code: ten digits that a person can read out and type, the last a check digit.

It is computed from the return's id, so that the same id gives the same code; a number that is taken is drawn again.
"""

from __future__ import annotations

import hashlib

DIGITS = 10
FIRST, COUNT = 100_000_000, 900_000_000  # nine digits without a leading zero, which spreadsheets drop


def slip_code(return_id: str, draw: int = 0) -> str:
    """Return the code of a return; `draw` counts the codes that were taken already."""
    drawn = hashlib.sha256(f"{return_id}:{draw}".encode()).digest()
    number = str(FIRST + int.from_bytes(drawn[:8]) % COUNT)
    return number + check_digit(number)


def check_digit(digits: str) -> str:
    """Return the digit that Luhn's formula appends (ISO/IEC 7812-1, annex B): a mistyped digit never fits."""
    doubled = [int(d) * 2 if place % 2 == 0 else int(d) for place, d in enumerate(reversed(digits))]
    return str(-sum(n - 9 if n > 9 else n for n in doubled) % 10)


def is_slip_code(text: str) -> bool:
    """Return whether text is ten digits whose last one fits the others."""
    if len(text) != DIGITS or not (text.isascii() and text.isdigit()):
        return False
    return check_digit(text[:-1]) == text[-1]
