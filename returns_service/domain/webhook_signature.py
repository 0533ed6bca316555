"""Outgoing webhooks as https://www.standardwebhooks.com has them: how a call is signed, and when it is made again."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

PREFIX = "whsec_"
SECRET_BYTES = 32  # the specification: 24 to 64
OLD_SECRET_SIGNS = timedelta(hours=24)  # a receiver has a day to take the new one
# Short at first, for a receiver that is just being replaced; then long enough to mend it in working hours.
DELAYS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 300, 1800, 7200))
LATER_DELAY = timedelta(hours=6)
GIVE_UP_AFTER = timedelta(days=3)  # a failure after so long is the last: a weekend has passed
HTTP_GONE = 410  # the receiver wants no more, ever


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a call: the HTTP status if there was one, and what went wrong, in our own words."""

    status: int | None
    error: str | None

    @property
    def arrived(self) -> bool:
        """Whether the receiver has it: a 2xx, and nothing else."""
        return self.error is None


def secret_of(random: bytes) -> str:
    """Return random bytes as a signing secret, `whsec_…`."""
    return PREFIX + base64.b64encode(random).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; the timestamp is Unix seconds."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers of a call, signed with each secret that is in force."""
    timestamp = int(at.timestamp())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, message_id, timestamp, body) for secret in secrets),
    }


def delay_after(failures: int) -> timedelta:
    """Return how long to wait after so many failed calls, at least one."""
    return DELAYS[failures - 1] if failures <= len(DELAYS) else LATER_DELAY
