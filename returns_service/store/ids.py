"""Ids that sort by time and tell their kind: TypeIDs (a prefix and the base32 of a UUIDv7, RFC 9562)."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any
from uuid import UUID

from typeid import TypeID


class Ids:
    """A source of ids; its randomness is a parameter, so that a test can replay a run."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._last = (0, 0)

    def new(self, prefix: str, now: datetime) -> str:
        """Return a new id, `ret_01k…`; ids made in one process in one millisecond keep their order."""
        millisecond, count = int(now.timestamp() * 1000), self._random.getrandbits(10)
        if millisecond <= self._last[0] and self._last[1] < 0xFFF:
            millisecond, count = self._last[0], self._last[1] + 1
        self._last = millisecond, count
        bits = millisecond << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | self._random.getrandbits(62)
        uuid: Any = UUID(int=bits)  # typeid asks for the class of a faster library, and takes this one
        return str(TypeID.from_uuid(uuid, prefix=prefix))


def lowest_id(prefix: str, moment: datetime) -> str:
    """Return the least id that can be made from a moment on: ids of a time lie between two of these."""
    uuid: Any = UUID(int=int(moment.timestamp() * 1000) << 80)
    return str(TypeID.from_uuid(uuid, prefix=prefix))
