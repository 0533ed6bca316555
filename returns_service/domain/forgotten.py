"""What stands in the place of a person's words once they are forgotten."""

from __future__ import annotations

import hashlib
from typing import Final

REDACTED: Final = "[forgotten]"
_DIGITS: Final = 32  # of the digest, hexadecimal


def pseudonym(text: str, of: str) -> str:
    """Return the stand-in for a name that is only compared, an order line's say, within the thing it is a name `of`.

    The same name has the same stand-in, so that what is forgotten is still known when it comes again. A stand-in stays
    as it is.
    """
    if is_pseudonym(text):
        return text
    digest = hashlib.sha256(f"{of}\n{text}".encode()).hexdigest()
    return f"{REDACTED} {digest[:_DIGITS]}"


def is_pseudonym(text: str) -> bool:
    """Return whether text stands for a name that was forgotten."""
    return text.startswith(f"{REDACTED} ") and len(text) == len(REDACTED) + 1 + _DIGITS
