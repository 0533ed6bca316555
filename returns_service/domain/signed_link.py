"""Links that name one thing until a time, signed: their holder needs no account, and nobody can make one up.

`<id>.<Unix seconds>.<signature>`; the signature is HMAC-SHA256 in base64url without padding (RFC 4648, section 5).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_FORM = re.compile(r"([a-z]{3}_[0-9a-z]{26})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class SignedLink:
    """What a link says that one of our keys signed."""

    id: str
    expires_at: datetime

    def is_over(self, now: datetime) -> bool:
        """Return whether the link's time has passed."""
        return now >= self.expires_at


def derive_key(secret: str) -> bytes:
    """Return a key of its own for signed links, made of a secret that also serves for something else."""
    return hmac.digest(secret.encode(), b"returns-service signed links", "sha256")


def sign_link(key: bytes, thing_id: str, expires_at: datetime) -> str:
    """Return the token that names a thing until `expires_at`, to the second."""
    said = f"{thing_id}.{int(expires_at.timestamp())}"
    return f"{said}.{_signature(key, said)}"


def read_link(keys: Sequence[bytes], token: str) -> SignedLink | None:
    """Return what a token says; None unless one of the keys signed it. Whether it is over is the caller's question."""
    match = _FORM.fullmatch(token)
    if match is None:
        return None
    said = f"{match[1]}.{match[2]}"
    if not any(hmac.compare_digest(_signature(key, said), match[3]) for key in keys):
        return None
    return SignedLink(match[1], datetime.fromtimestamp(int(match[2]), UTC))


def _signature(key: bytes, said: str) -> str:
    digest = hmac.digest(key, said.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
