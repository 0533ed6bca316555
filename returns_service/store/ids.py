"""Ids that sort by time and tell their kind: TypeIDs (a prefix and the base32 of a UUIDv7, RFC 9562)."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from typeid import TypeID

# An id's time is its row's or later, by this at most: lists go by ids, and so do their filters by time.
AHEAD = timedelta(hours=1)
LAST_MILLISECOND = (1 << 48) - 1


class Ids:
    """A source of ids; its randomness is a parameter, so that a test can replay a run."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._last = (0, 0)

    def new(self, prefix: str, now: datetime) -> str:
        """Return a new id, `ret_01k…`; ids made in one process in one millisecond keep their order."""
        millisecond, count = int(now.timestamp() * 1000), self._random.getrandbits(10)
        behind = self._last[0] - millisecond
        if 0 <= behind <= AHEAD / timedelta(milliseconds=1) and self._last[1] < 0xFFF:
            millisecond, count = self._last[0], self._last[1] + 1
        self._last = millisecond, count
        bits = millisecond << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | self._random.getrandbits(62)
        return _write_id(prefix, bits)


def first_id(prefix: str, moment: datetime, *, earlier: timedelta = timedelta()) -> str:
    """Return a word that sorts before the ids of that kind whose rows were made at `moment` or later.

    `earlier`: and before those of rows that were made so much before it.
    """
    return _write_id(prefix, _clamp(moment.timestamp() - earlier.total_seconds()) << 80)


def last_id(prefix: str, moment: datetime, *, later: timedelta = timedelta()) -> str:
    """Return a word that sorts behind the ids of that kind whose rows were made at `moment` or earlier.

    `later`: and behind those of rows that were made so much after it.
    """
    return _write_id(prefix, _clamp(moment.timestamp() + (AHEAD + later).total_seconds() + 1) << 80)


def read_first(chosen: Any) -> Any:
    """Return a statement that chooses few ids, so that it is worked out before the statement it is part of.

    PostgreSQL takes a part without OFFSET into the whole, and may then walk all rows in the whole's order for it.
    """
    return chosen.offset(0)


def _clamp(seconds: float) -> int:
    """Return a time (Unix seconds) as an id's millisecond."""
    return min(max(int(seconds * 1000), 0), LAST_MILLISECOND)


def _write_id(prefix: str, bits: int) -> str:
    uuid: Any = UUID(int=bits)  # typeid asks for the class of a faster library, and takes this one
    return str(TypeID.from_uuid(uuid, prefix=prefix))
