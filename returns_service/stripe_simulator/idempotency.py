"""What is remembered of requests with an Idempotency-Key.

The answer is kept once execution has begun, errors 400, 402, 404 and 500 included. Not kept: parameters that fail
validation, 401, 403, 409 and 429; those may be sent again with the same key.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from .form import Form

MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Kept:
    """The first request with a key, and its answer. `at`: seconds since 1970, UTC."""

    path: str
    form: Form
    request_id: str
    status: int
    body: bytes
    at: float


@dataclass
class Keys:
    """All keys of the account."""

    kept: OrderedDict[str, Kept] = field(default_factory=OrderedDict)  # oldest first
    in_flight: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)  # charges that a request in flight writes to

    def find(self, key: str, now: float, life_seconds: float) -> Kept | None:
        """Return what is kept under `key`; what has outlived `life_seconds` is forgotten first."""
        while self.kept:
            oldest = next(iter(self.kept.values()))
            if now - oldest.at < life_seconds:
                break
            self.kept.popitem(last=False)
        found = self.kept.get(key)
        if found is not None and now - found.at >= life_seconds:  # behind a younger one: the clock once jumped back
            del self.kept[key]
            return None
        return found

    def keep(self, key: str, kept: Kept) -> None:
        """Remember the answer."""
        self.kept[key] = kept
