"""Bad luck by name: which calls and which webhooks it strikes. Nothing happens unless a fault is armed.

Calls to the API:

- `drop_before`, `drop_after`: the connection is cut, before or after the request was done
- `stored_500`, `stored_500_done`: execution began and ended in a 500 that the idempotency key keeps; nothing was
  done (until a repair), or all of it was
- `500`: an error before execution began, so nothing is kept
- `429_rate_limit`, `429_lock_timeout`, `409_key_in_use`, `401`, `403`: refused, nothing is kept
- `503_html`, `503_html_done`: a gateway's page instead of an answer; nothing was done, or all of it was
- `unreadable_200`: done, but the body is cut off in the middle
- `latency`: the call takes `seconds` longer; adds to any other fault

Webhooks, at their first attempt:

- `lose`: never delivered; `delay`: `seconds` later; `reorder`: later by a random part of `seconds`
- `double`: delivered twice with one id; `double_event`: told a second time by an event with another id
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random

from .shelf import Json

CALL_FAULTS = (
    "drop_before", "drop_after", "stored_500", "stored_500_done", "500", "429_rate_limit", "429_lock_timeout",
    "409_key_in_use", "401", "403", "503_html", "503_html_done", "unreadable_200", "latency",
)  # fmt: skip
WEBHOOK_FAULTS = ("lose", "double", "double_event", "delay", "reorder")


@dataclass(frozen=True, slots=True)
class Fault:
    """What strikes. `seconds`: the latency of a call, or the delay of a webhook."""

    name: str
    seconds: float = 0.0


@dataclass
class Arm:
    """A fault waiting for its calls: for the next `count`, or for a `share` (0 to 1) of them, or for all.

    `method`, `path` (calls) and `event_type` (webhooks) are patterns with `*`.
    """

    name: str
    random: Random = field(repr=False)
    count: int | None = None
    share: float | None = None
    method: str = "*"
    path: str = "*"
    event_type: str = "*"
    seconds: float = 0.0
    strikes: int = 0

    def strikes_now(self) -> bool:
        """Decide for one matching call, and count it."""
        if self.count is not None and self.strikes >= self.count:
            return False
        if self.share is not None and self.random.random() >= self.share:
            return False
        self.strikes += 1
        return True


class Faults:
    """All armed faults; the one armed first strikes first."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.arms: list[Arm] = []

    def arm(
        self,
        name: str,
        *,
        count: int | None = None,
        share: float | None = None,
        seed: int | None = None,
        method: str = "*",
        path: str = "*",
        event_type: str = "*",
        seconds: float = 0.0,
    ) -> Arm:
        """Arm a fault (see `Arm`); with `seed` its share is drawn from a generator of its own."""
        if name not in CALL_FAULTS + WEBHOOK_FAULTS:
            raise ValueError(f"no fault {name!r}; there are: {', '.join(CALL_FAULTS + WEBHOOK_FAULTS)}")
        if not all(isinstance(pattern, str) for pattern in (method, path, event_type)):
            raise ValueError("method, path and event_type are texts")
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"share is {share}, not between 0 and 1")
        if count is not None and count < 1:
            raise ValueError(f"count is {count}, not at least 1")
        if seconds < 0:
            raise ValueError(f"seconds is {seconds}, not at least 0")
        drawn = self.random if seed is None else Random(seed)
        self.arms.append(Arm(name, drawn, count, share, method, path, event_type, seconds))
        return self.arms[-1]

    def disarm(self, name: str | None = None) -> None:
        """Disarm the faults called `name`, or all."""
        self.arms = [arm for arm in self.arms if name not in (None, arm.name)]

    def strike(self, method: str, path: str) -> Fault | None:
        """Return what strikes this call to the API; latencies add up, of the others only one strikes."""
        name, seconds = "latency", 0.0
        for arm in self._armed(CALL_FAULTS):
            if fnmatchcase(method, arm.method) and fnmatchcase(path, arm.path):
                if arm.name == "latency":
                    seconds += arm.seconds if arm.strikes_now() else 0.0
                elif name == "latency" and arm.strikes_now():
                    name, seconds = arm.name, seconds + arm.seconds
        return Fault(name, seconds) if seconds or name != "latency" else None

    def strike_webhook(self, event: Json) -> Fault | None:
        """Return what strikes the first delivery of `event`."""
        for arm in self._armed(WEBHOOK_FAULTS):
            if fnmatchcase(event["type"], arm.event_type) and arm.strikes_now():
                wait = arm.seconds or 1.0
                return Fault(arm.name, arm.random.uniform(0, wait) if arm.name == "reorder" else wait)
        return None

    def _armed(self, names: tuple[str, ...]) -> Iterator[Arm]:
        return (arm for arm in self.arms if arm.name in names)
