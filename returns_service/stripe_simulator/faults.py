"""The faults by name, and which calls and webhooks they hit. Nothing fails unless a test arms a fault.

Calls to the API:

- `drop_before`, `drop_after`: the connection is cut, before or after the request took effect
- `stored_500`, `stored_500_done`: execution began and ended in a 500 that the idempotency key stores; the request
  had no effect (until a repair), or all of it
- `500`: an error before execution began, so the key stores nothing
- `429_rate_limit`, `429_lock_timeout`, `409_key_in_use`, `401`, `403`: a refusal, the key stores nothing
- `503_html`, `503_html_done`: a gateway's page instead of an answer; the request had no effect, or all of it
- `unreadable_200`: the request took effect, but the body is cut off in the middle
- `latency`: the call takes `seconds` longer; adds to any other fault

Webhooks, at their first attempt:

- `lose`: never delivered; `delay`: `seconds` later; `reorder`: later by a random part of `seconds`
- `double`: delivered twice with one id; `double_event`: emitted a second time as an event with another id
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random

from .collection import Json

CALL_FAULTS = (
    "drop_before", "drop_after", "stored_500", "stored_500_done", "500", "429_rate_limit", "429_lock_timeout",
    "409_key_in_use", "401", "403", "503_html", "503_html_done", "unreadable_200", "latency",
)  # fmt: skip
WEBHOOK_FAULTS = ("lose", "double", "double_event", "delay", "reorder")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that hits one call or webhook. `seconds`: the latency of a call, or the delay of a webhook."""

    name: str
    seconds: float = 0.0


@dataclass
class ArmedFault:
    """A fault that waits for its calls: for the next `count`, or for a `share` (0 to 1) of them, or for all.

    `method`, `path` (calls) and `event_type` (webhooks) are patterns with `*`. `strikes` counts its hits.
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

    def draw(self) -> bool:
        """Decide whether to hit one matching call, and count the hit."""
        if self.count is not None and self.strikes >= self.count:
            return False
        if self.share is not None and self.random.random() >= self.share:
            return False
        self.strikes += 1
        return True


class Faults:
    """All armed faults. The one armed first hits first."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.armed_faults: list[ArmedFault] = []

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
    ) -> ArmedFault:
        """Arm a fault (see `ArmedFault`). With `seed`, its share is drawn from a generator of its own."""
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
        random = self.random if seed is None else Random(seed)
        self.armed_faults.append(ArmedFault(name, random, count, share, method, path, event_type, seconds))
        return self.armed_faults[-1]

    def disarm(self, name: str | None = None) -> None:
        """Disarm the faults called `name`, or all of them."""
        self.armed_faults = [fault for fault in self.armed_faults if name not in (None, fault.name)]

    def draw_fault(self, method: str, path: str) -> Fault | None:
        """Return the fault that hits this call to the API. Latencies add up; of the others, one hits."""
        name, seconds = "latency", 0.0
        for fault in self._iter_armed(CALL_FAULTS):
            if fnmatchcase(method, fault.method) and fnmatchcase(path, fault.path):
                if fault.name == "latency":
                    seconds += fault.seconds if fault.draw() else 0.0
                elif name == "latency" and fault.draw():
                    name, seconds = fault.name, seconds + fault.seconds
        return Fault(name, seconds) if seconds or name != "latency" else None

    def draw_for_event(self, event: Json) -> Fault | None:
        """Return the fault that hits the first delivery of `event`."""
        for fault in self._iter_armed(WEBHOOK_FAULTS):
            if fnmatchcase(event["type"], fault.event_type) and fault.draw():
                wait = fault.seconds or 1.0
                return Fault(fault.name, fault.random.uniform(0, wait) if fault.name == "reorder" else wait)
        return None

    def _iter_armed(self, names: tuple[str, ...]) -> Iterator[ArmedFault]:
        return (fault for fault in self.armed_faults if fault.name in names)
