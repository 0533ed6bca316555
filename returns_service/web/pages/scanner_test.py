"""Test a hand scanner: what it made of a code that is known, and what to set where it is something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from returns_service.domain.scan import clean_code
from returns_service.domain.slip_code import DIGITS, is_slip_code, slip_code

TEST_CODE: Final = slip_code("a scanner test")
# The row of digits of other layouts, unshifted: French, Belgian, Czech and Slovak keyboards type these.
_OTHER_DIGITS: Final = frozenset("&é\"'(-è_çà§!+ěščřžýáíľť")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The characters that a scanner sent, and a verdict: `moved` is right, `not-moved` is wrong."""

    text: str
    fact: str
    says: str


def judge_scan(typed: str) -> Verdict | None:
    """Return what a scan of the test's code says of the scanner; None where nothing was scanned."""
    text = clean_code(typed)
    if not text:
        return None
    if text == TEST_CODE:
        return Verdict(text, "moved", "Right: ten digits, and Enter sent them.")
    if is_slip_code(text):
        return Verdict(text, "moved", "Right: ten digits, and Enter sent them. It was another slip’s code.")
    if not set(text) - _OTHER_DIGITS:
        return Verdict(text, "not-moved", "It types for another keyboard: set the scanner to this computer’s layout.")
    if text.isascii() and text.isdigit() and len(text) < DIGITS:
        return Verdict(text, "not-moved", f"{len(text)} of {DIGITS} digits arrived: let the scanner send slower.")
    if text.isascii() and text.isdigit():
        return Verdict(text, "not-moved", "The digits don’t fit each other: one was lost or doubled. Scan once more.")
    if TEST_CODE in text:
        return Verdict(
            text, "not-moved", "More than the code arrived: turn off what the scanner adds before or behind."
        )
    return Verdict(text, "not-moved", "It is not this code: set the scanner to send codes as they are, in digits.")
