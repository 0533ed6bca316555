"""A sign-in under way at the provider, as a cookie of the browser that began it: nothing of it is kept by us.

State, nonce and PKCE's verifier are drawn from one secret, one way each: the provider and the address bar see the first
two and learn nothing of the secret from them. The state covers the time and the way back as well, so a cookie that
somebody changed fits no answer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

ATTEMPT_LIVES: Final = timedelta(minutes=10)
LONGEST_COOKIE: Final = 2000  # characters


@dataclass(frozen=True, slots=True)
class ProviderAttempt:
    """One way to the provider and back."""

    secret: str  # random, of this browser alone
    begun_at: int  # seconds since 1970, UTC
    next_path: str  # where the person wanted to go

    @property
    def state(self) -> str:
        """What the callback must bring back."""
        return self._draw(f"state {self.begun_at} {self.next_path}")

    @property
    def nonce(self) -> str:
        """What the token must hold."""
        return self._draw("nonce")

    @property
    def verifier(self) -> str:
        """What proves to the provider that whoever redeems the code also began the sign-in (RFC 7636)."""
        return self._draw("verifier")

    def is_answered_by(self, state: str, now: datetime) -> bool:
        """Return whether a callback with this state belongs to this attempt, and comes in time."""
        age = now - datetime.fromtimestamp(self.begun_at, now.tzinfo)
        return hmac.compare_digest(self.state.encode(), state.encode()) and age < ATTEMPT_LIVES

    def to_cookie(self) -> str:
        """Return the attempt as the value of a cookie."""
        path = base64.urlsafe_b64encode(self.next_path.encode()).rstrip(b"=").decode()
        return f"{self.secret}.{self.begun_at}.{path}"

    def _draw(self, purpose: str) -> str:
        return hmac.new(self.secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def read_attempt(cookie: str | None) -> ProviderAttempt | None:
    """Return the attempt that a cookie holds; None for a value that is none."""
    secret, _, rest = (cookie or "").partition(".")
    begun_at, _, path = rest.partition(".")
    if not secret or not begun_at.isascii() or not begun_at.isdecimal() or len(cookie or "") > LONGEST_COOKIE:
        return None
    try:
        next_path = base64.urlsafe_b64decode(path + "=" * (-len(path) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    # A time that no calendar has: the state covers it, so no answer of the provider's belongs to it.
    return ProviderAttempt(secret, min(int(begun_at), 2**32), next_path)
