"""Tokens: 256 random bits that only their holder knows. The database keeps their SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

TOKEN_BYTES: Final = 32
LONGEST_TOKEN: Final = 200  # characters; a longer one is nobody's


def new_token(prefix: str = "") -> str:
    """Return a new token, 43 characters that may stand in an address or a cookie, after `prefix`."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return the form in which a token is kept and looked up."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_digits(length: int) -> str:
    """Return random digits: what a hand scanner types the same on every keyboard layout."""
    return "".join(secrets.choice("0123456789") for _ in range(length))
