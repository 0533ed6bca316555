"""The answers that Stripe stores under an Idempotency-Key, and replays.

Stripe stores the answer once execution has begun, errors 400, 402, 404 and 500 included. It stores no refusal of
parameters that fail validation, and no 401, 403, 409 or 429: the caller may send those again with the same key
(docs.stripe.com/api/idempotent_requests, docs.stripe.com/error-low-level).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from .form import Form

MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The first request with a key, and its answer. `at` is in seconds since 1970 (UTC)."""

    path: str
    form: Form
    request_id: str
    status: int
    body: bytes
    at: float


@dataclass
class Keys:
    """All idempotency keys of the account."""

    responses: OrderedDict[str, StoredResponse] = field(default_factory=OrderedDict)  # oldest first
    in_flight: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)  # charge ids that a request in flight writes to

    def find(self, key: str, now: float, life_seconds: float) -> StoredResponse | None:
        """Forget the answers older than `life_seconds`, then return the one under `key`, if any."""
        while self.responses:
            oldest = next(iter(self.responses.values()))
            if now - oldest.at < life_seconds:
                break
            self.responses.popitem(last=False)
        response = self.responses.get(key)
        if response is not None and now - response.at >= life_seconds:  # stored before the clock jumped back
            del self.responses[key]
            return None
        return response

    def store(self, key: str, response: StoredResponse) -> None:
        """Store the answer under `key`."""
        self.responses[key] = response
