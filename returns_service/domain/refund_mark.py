"""The mark of ours on a refund of a return at Stripe: which return it paid, and what of it.

It stands in the metadata as `lines`, a key that no caller can write, so whatever a caller names `return_id` or
`order_id` is theirs. A refund that is found after a restore is given back to its return by the mark alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 500  # characters of a value: https://docs.stripe.com/api/metadata
_DIGITS: Final = 16  # of the digest, hexadecimal


@dataclass(frozen=True, slots=True)
class RefundMark:
    """Which return a refund paid, and its breakdown as `encode_breakdown` wrote it; empty where that did not fit."""

    return_id: str
    breakdown: str


def write_mark(refund_id: str, return_id: str, breakdown: str) -> str:
    """Return the mark of a refund: its return, its breakdown if there is room for it, and their digest."""
    text = f"{return_id}|{breakdown}"
    if len(text) + 1 + _DIGITS > LONGEST:
        text = f"{return_id}|"
    return f"{text}|{_digest(refund_id, text)}"


def read_mark(metadata: Mapping[str, str]) -> RefundMark | None:
    """Return the mark of ours that a refund's metadata holds, None where it holds none."""
    text = metadata.get("lines", "")
    if "|" not in text:  # a release before the digest wrote the breakdown alone, and the return beside it
        return_id = metadata.get("return_id", "")
        return RefundMark(return_id, text) if text and return_id else None
    signed, _, digest = text.rpartition("|")
    return_id, _, breakdown = signed.partition("|")
    if digest != _digest(metadata.get("refund_id", ""), signed):
        return None
    return RefundMark(return_id, breakdown)


def _digest(refund_id: str, text: str) -> str:
    return hashlib.sha256(f"{refund_id}|{text}".encode()).hexdigest()[:_DIGITS]
