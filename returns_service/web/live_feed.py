"""The feed as it grows, read once a second for all streams of this process, however many there are.

Why it asks the database each second: an event belongs to the feed once it is committed and placed, whichever process
wrote it, and a reader that asks can't miss one.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from returns_service.commands.api_keys import keys_in_force
from returns_service.commands.sessions import sessions_in_force
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import EventType
from returns_service.return_case import event_feed
from returns_service.return_case.views import show_event
from returns_service.store.clock import elapsed_seconds
from returns_service.store.database import Database
from returns_service.store.tables import Event

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0  # proxies close what is silent for 30 to 60 s
LONGEST_SECONDS = 3600.0  # a client comes back by itself, after where it was
AT_ONCE = 100  # events of one look
KEPT_EVENTS = 1000  # a stream that falls behind them reads the database for itself
AGAIN_SECONDS = 5  # streams end by themselves, when somebody leaves
log = structlog.get_logger("returns.stream")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What one stream wants to hear of; None: all."""

    return_id: str | None = None
    refund_id: str | None = None
    kinds: tuple[EventType, ...] | None = None

    def wants(self, event: Event) -> bool:
        """Return whether the stream tells of an event."""
        return (
            self.return_id in (None, event.return_id)
            and self.refund_id in (None, event.refund_id)
            and (self.kinds is None or event.type in self.kinds)
        )


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event, and what streams send of it: the whole to programs, `brief` to pages, which read themselves anew."""

    event: Event
    position: int
    text: str
    brief: str


class Seat:
    """A stream's place among those of its process and key; given back once, however the stream ends."""

    def __init__(self, feed: LiveFeed, key_id: str) -> None:
        self.key_id = key_id  # an API key, or the session of a page
        self._feed: LiveFeed | None = feed

    def give_back(self) -> None:
        """Make room for another stream."""
        if self._feed is not None:
            self._feed.streams[self.key_id] -= 1
            self._feed.streams += Counter()  # drops keys without any
            self._feed = None


class LiveFeed:
    """The newest events, and the streams that wait for more."""

    def __init__(self, database: Database, closing: asyncio.Event, *, most: int, most_per_key: int) -> None:
        self.streams: Counter[str] = Counter()  # by key
        self._database, self._closing = database, closing
        self.most, self.most_per_key = most, most_per_key
        self._kept: deque[FeedEvent] = deque(maxlen=KEPT_EVENTS)
        self._reached: int | None = None  # the position up to which was read; None: nobody reads
        self._in_force: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._starting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    def take_seat(self, key_id: str) -> Seat:
        """Return a place for one more stream. Raises Problem too_many_streams."""
        if self.streams[key_id] >= self.most_per_key or self.streams.total() >= self.most:
            whose = "this key" if self.streams[key_id] >= self.most_per_key else "all keys"
            raise Problem("too_many_streams", f"All streams of {whose} are taken.", retry_after=AGAIN_SECONDS)
        self.streams[key_id] += 1
        return Seat(self, key_id)

    def stream(
        self, seat: Seat, position: int, wanted: EventFilter, greeting: str, *, brief: bool = False
    ) -> AsyncIterator[str]:
        """Return `greeting` and then the events after `position`, as they come."""
        events = self._stream(seat, position, wanted, greeting, brief)
        weakref.finalize(events, seat.give_back)  # a stream that is never begun never comes to its `finally`
        return events

    async def _stream(
        self, seat: Seat, position: int, wanted: EventFilter, greeting: str, brief: bool
    ) -> AsyncIterator[str]:
        try:
            yield greeting
            end, silent_since = elapsed_seconds() + LONGEST_SECONDS, elapsed_seconds()
            await self._begin_to_read(seat.key_id)
            while elapsed_seconds() < end:
                changed = self._changed  # taken before the look: what comes after it is not missed
                position, events, more = await self._look(position, wanted)
                for event in events:
                    yield event.brief if brief else event.text
                    silent_since = elapsed_seconds()
                if self._reached is None or seat.key_id not in self._in_force or self._closing.is_set():
                    return
                if more:
                    continue
                try:
                    async with asyncio.timeout(max(0.0, silent_since + HEARTBEAT_SECONDS - elapsed_seconds())):
                        await changed.wait()
                except TimeoutError:
                    yield ": still here\n\n"
                    silent_since = elapsed_seconds()
        except (SQLAlchemyError, OSError):
            return  # the database is away: the reader comes back, and goes on where it was
        finally:
            seat.give_back()

    async def _look(self, position: int, wanted: EventFilter) -> tuple[int, list[FeedEvent], bool]:
        """Return where a stream is now, what it sends, and whether more is at hand."""
        reached = self._reached
        if reached is None:
            return position, [], False
        if position >= reached - len(self._kept):
            new = [kept for kept in self._kept if kept.position > position]
            return max(position, reached), [kept for kept in new if wanted.wants(kept.event)], False
        async with self._database.reading() as tx:
            events = await event_feed.events_after(tx, position, AT_ONCE, **asdict(wanted))
        found = [_feed_event(event) for event in events]
        if len(events) == AT_ONCE:
            return events[-1].position or position, found, True
        return max(reached, *(event.position for event in found), position), found, True

    async def _begin_to_read(self, key_id: str) -> None:
        async with self._starting:
            if self._reached is None:
                async with self._database.reading() as tx:
                    reached = await event_feed.last_position(tx)
                self._kept.clear()
                self._reached = reached
                self._reading = asyncio.create_task(self._read())
            self._in_force |= {key_id}  # it was let in just now; the next look asks again

    async def _read(self) -> None:
        """Read on for all, until nobody listens any more."""
        try:
            while self.streams and not self._closing.is_set():
                if await self._read_once() == AT_ONCE:
                    continue
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._closing.wait()
                except TimeoutError:
                    continue
        except (SQLAlchemyError, OSError) as error:
            log.warning("stream.database_away", error=type(error).__name__)
        finally:
            self._reached = None
            self._tell()

    async def _read_once(self) -> int:
        """Read what came since the last look; return how many events did."""
        keys = list(self.streams)
        await event_feed.bring_up_to_date(self._database)
        async with self._database.reading() as tx:
            in_force = await keys_in_force(tx, keys) | await sessions_in_force(tx, keys)
            events = await event_feed.events_after(tx, self._reached or 0, AT_ONCE, **asdict(EventFilter()))
        revoked = frozenset(keys) - in_force
        self._in_force = ((self._in_force | in_force) - revoked).intersection(self.streams)  # the rest have left
        for event in events:
            self._reached = event.position or 0
            self._kept.append(_feed_event(event))
        if events or revoked:
            self._tell()
        return len(events)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _feed_event(event: Event) -> FeedEvent:
    brief = frame(event.id, "change", msgspec.json.encode({"return": event.return_id}))
    return FeedEvent(event, event.position or 0, text_of(event), brief)


def text_of(event: Event) -> str:
    """Return an event as a stream sends it."""
    return frame(event.id, event.type, msgspec.json.encode(show_event(event)))


def frame(event_id: str, kind: str, data: bytes) -> str:
    """Return one event of a stream, as Server-Sent Events are written."""
    return f"id: {event_id}\nevent: {kind}\ndata: {data.decode()}\n\n"


def greeting(last_event: str) -> str:
    """Return the first words of a stream: a client that is cut off before any event goes on after `last_event`.

    It needs data as well: a client takes an id over only with a whole event.
    """
    data = msgspec.json.encode({"object": "stream", "last_event": last_event})
    return f": the feed of events\n\n{frame(last_event, 'ready', data)}"
