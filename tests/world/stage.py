"""What the world is played on: the real database and gateway, with the kernel's gates at each of their effects."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from urllib.parse import parse_qs

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from returns_service.commands import stripe_inbox
from returns_service.domain.policy import Policy
from returns_service.domain.stripe_objects import NEEDED_EVENTS, StripeEventData
from returns_service.return_case.events import Actor
from returns_service.settings import Settings
from returns_service.store import schema
from returns_service.store.database import Database, Tx
from returns_service.store.ids import Ids
from returns_service.store.tables import Refund
from returns_service.stripe_gateway import StripeGateway
from returns_service.stripe_gateway import client as stripe_client
from returns_service.stripe_simulator import Fault, Ledger, Request, answer_with_fault
from returns_service.web.context import Context
from tests.world.committed import Committed
from tests.world.kernel import ACTOR, START, Clock, Kernel
from tests.world.listener import Listener
from tests.world.one_thread import stay_on_one_thread

T = TypeVar("T")
KEY = "sk_test_world"
SECRET = "whsec_world"
SETTLE_SECONDS = 60.0  # from a refund to its later news at Stripe
# What may strike a call, by the simulator's names; `no_connection` never leaves our machine.
FAULTS = (
    "drop_before", "drop_after", "stored_500", "stored_500_done", "500", "429_rate_limit", "429_lock_timeout",
    "409_key_in_use", "503_html", "503_html_done", "unreadable_200", "no_connection",
)  # fmt: skip


class GatedDatabase(Database):
    """The service's database with the world's seams at each transaction's edge."""

    kernel: Kernel
    look: Callable[[], None]  # at what was just committed

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Breathe last before the commit, stand at a gate after it."""
        async with super().transaction() as tx:
            yield tx
            self.kernel.last_breath()
        self.look()
        await self.kernel.gate("committed")

    async def run(self, work: Callable[[Tx], Awaitable[T]], *, safe_to_repeat: bool = False) -> T:
        """Do `work` once: with one actor at a time nothing can pass by being done again."""
        async with self.transaction() as tx:
            return await work(tx)


# Refunds that Stripe is asked for, or about, from now on, and the refund made outside that nobody has said anything of.
BEGUN = (
    "SELECT r.id, r.status, r.lease_token, r.overrides_hold, p.held_until_read, x.id AS other"
    " FROM refund r JOIN payment p ON p.id = r.payment_id LEFT JOIN refund x"
    " ON x.payment_id = r.payment_id AND x.source = 'external' AND x.status NOT IN ('failed', 'canceled')"
    " AND x.return_id IS NULL AND x.acknowledged_at IS NULL AND x.duplicate_of IS NULL"
    " WHERE r.status IN ('submitted', 'unknown')"
)


@dataclass
class Call:
    """What a worker asks of Stripe, its answer still on its way: about which refund, and under which lease."""

    refund: str
    token: int
    lease_until: str | None
    sent: bool = True  # the refund itself, not a look-up


class Wire(httpx.AsyncBaseTransport):
    """The line to Stripe: one call is played, or lost, then its caller stands at a gate."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.begin()

    def begin(self) -> None:
        """Forget the last world."""
        self.fault = ("", "")  # (method, fault): strikes the next call of that method, whoever makes it
        self.struck: list[tuple[str, str]] = []  # (fault, method): which of them did
        self.bodies: dict[str, bytes] = {}  # idempotency key -> what was sent under it
        self.keys: dict[tuple[str, str], str] = {}  # (refund, generation) -> its key
        self.refused: set[str] = set()  # refunds that Stripe said no to
        self.begun: set[tuple[str, int]] = set()  # (refund, lease's token): first asked for under that lease
        self.held: set[tuple[str, int]] = set()  # those of them that are in doubt, and wait for a word about another
        self.down_until = 0.0  # Stripe's time: until then it can't be reached
        self.in_flight: list[Call] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Play one call."""
        stage, body = self.stage, await request.aread()
        asked = Request(request.method, request.url.path, request.url.query.decode(), dict(request.headers), body)
        fault = ""
        if self.fault[0] == asked.method:
            (_, fault), self.fault = self.fault, ("", "")
        if stage.clock.unix() < self.down_until:
            fault = "no_connection"
        if fault:
            self.struck.append((fault, asked.method))
        sent = (asked.method, asked.path) == ("POST", "/v1/refunds")
        call = self._witness(asked) if sent else self._under_lease()
        unsent = fault == "no_connection"
        answer = None if unsent else answer_with_fault(stage.ledger, asked, Fault(fault) if fault else None)
        if call is not None and sent and answer is not None and answer.status in (400, 402, 404):
            self.refused.add(call.refund)
        if call is not None:
            self.in_flight.append(call)
        try:
            shown = asked.path.removeprefix("/v1/") + (f" of {call.refund}" if call and sent else "")
            await stage.kernel.gate(f"Stripe {asked.method} {shown} {fault}".rstrip())
        finally:
            if call is not None:
                self.in_flight.remove(call)
        if unsent:
            raise httpx.ConnectError("refused")
        if answer is None:
            raise httpx.ReadError("cut")
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)

    def _under_lease(self) -> Call | None:
        """Return a worker's question about the refund that it leased, None for anybody else's."""
        scheduled = ACTOR.get().scheduled
        if scheduled is None:
            return None
        lease_until = self.stage.one("SELECT lease_until FROM refund WHERE id = ?", scheduled.claim.refund_id)[0]
        return Call(scheduled.claim.refund_id, scheduled.claim.token, lease_until, sent=False)

    def look_at_begun(self) -> None:
        """Hold each refund that was just begun against those that somebody made outside, or may have."""
        for row in self.stage.eye.execute(BEGUN).fetchall():
            begun = (row["id"], row["lease_token"])
            if begun not in self.begun:
                self.begun.add(begun)
                free = row["other"] is None or bool(row["overrides_hold"])
                free |= self.stage.context.policy.external_refunds != "hold"
                began = f"{row['id']} began while nobody had said what {row['other']} was for"
                self.stage.law(free or row["status"] == "unknown", began)
                unread = bool(row["held_until_read"])
                self.stage.law(
                    not unread or row["status"] == "unknown", f"{row['id']} began before its payment was read"
                )
                if unread or not free:
                    self.held.add(begun)

    def _witness(self, asked: Request) -> Call:
        """Hold what leaves for Stripe against what is committed."""
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        refund = form["metadata[refund_id]"]
        first = self.bodies.setdefault(asked.key, asked.body)
        row = self.stage.one("SELECT * FROM refund WHERE id = ?", refund)
        law = self.stage.law
        law(first == asked.body, f"{refund}: its key was sent again with other parameters")
        key = self.keys.setdefault((refund, asked.key.split(":")[1]), asked.key)
        law(key == asked.key, f"{refund}: asked under another key, {asked.key}")
        law(json.loads(row["parameters"])["amount"] == int(form["amount"]), f"{refund}: another amount was asked")
        law(row["amount"] == int(form["amount"]), f"{refund}: asked for {form['amount']}, decided {row['amount']}")
        actor, clock = ACTOR.get(), self.stage.clock
        scheduled = actor.scheduled
        # Two may have claimed it where a clock was set: each is held by what it saw when it began.
        token = scheduled.claim.token if scheduled else row["lease_token"]
        law((refund, token) not in self.held, f"{refund}: in doubt, and sent beside one made outside")
        # One that lost its lease to a clock set ahead may still ask under the key before: the next look-up finds it.
        committed = row["first_attempt_at"] is not None or (
            scheduled and scheduled.claim.generation < row["generation"]
        )
        law(bool(committed), f"{refund}: sent before its intent was committed")
        law(scheduled is not None and clock.monotonic() < scheduled.not_after, f"{refund}: sent with no lease")
        if scheduled is not None and clock.settings == actor.settings:  # else another may think the lease is over
            law(scheduled.claim.token == row["lease_token"], f"{refund}: sent with no lease")
        return Call(refund, row["lease_token"], row["lease_until"])


async def at_once(_: float) -> None:
    """Pause for no time: the clock of a world moves by its own rules alone."""


class Stage:
    """What outlives a world: a loop, the engines, the gateway, and the eye, which sees what is committed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = asyncio.new_event_loop()
        self.db = GatedDatabase(f"sqlite:///{path}?check_same_thread=false")
        for engine in (self.db.writer, self.db.reader):
            event.listen(engine.sync_engine, "connect", _unsafe_but_fast)
        self.loop.run_until_complete(self._open())
        self.patch = pytest.MonkeyPatch()
        self.settings = Settings()
        self.first_round: list[tuple[Any, ...]] = []  # what the janitor's first round leaves, in each world the same
        self.eye = sqlite3.connect(path, isolation_level=None)
        self.eye.row_factory = sqlite3.Row
        self.tables = [table.name for table in SQLModel.metadata.sorted_tables]
        self.wire = Wire(self)
        self.kernel = Kernel(self.loop)
        self.db.look = self.wire.look_at_begun
        self.gateway = StripeGateway(
            KEY,
            api_base="http://127.0.0.1:1",
            transport=self.wire,
            monotonic=self.monotonic,
            jitter=lambda: 0.0,
        )
        event.listen(Session, "before_flush", self._witness)
        self.begin()

    async def _open(self) -> None:
        """Make the tables, and open the connections."""
        await schema.upgrade(self.db)
        async with self.db.reading() as tx:
            _ = await tx.connection()

    @property
    def clock(self) -> Clock:
        """The present world's clock."""
        return self.kernel.clock

    def monotonic(self) -> float:
        """Seconds since the present world began."""
        return self.clock.monotonic()

    def begin(self) -> None:
        """Empty the database and make a new world: nothing of the last one is left."""
        self.eye.execute("BEGIN IMMEDIATE")
        for name in self.tables:
            self.eye.execute(f"DELETE FROM {name}")  # noqa: S608 - a table of ours
        for row in self.first_round:
            self.eye.execute(f"INSERT INTO sweep VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        self.eye.execute("COMMIT")
        self.committed = Committed(self.eye)
        self.kernel = self.db.kernel = Kernel(self.loop, Clock(START))
        self.db._now = self.clock.now
        self.db.random = random.Random(11)
        self.db.ids = Ids(self.db.random)
        self.ledger = Ledger(self.clock.unix, random.Random(7), settle_seconds=SETTLE_SECONDS)
        self.poisoned: set[str] = set()  # events of Stripe's whose fold raises
        self.context = Context(self.db, self.gateway, self.settings)
        self.listener = Listener(self.kernel)
        self.ledger.add_endpoint("http://shop.test/webhooks/stripe", SECRET, NEEDED_EVENTS)
        self.broken: list[str] = []  # laws broken where an exception would have been caught
        self.wire.begin()

    def set(self) -> None:
        """Put the world's seams where the code under test meets time, threads and its own bugs."""
        stay_on_one_thread(self.patch)
        self.patch.setattr(stripe_inbox, "fold", self._fold_or_raise(stripe_inbox.fold))
        # Real time must not end a call that stands at a gate; what a late or lost answer does, faults and freezes show.
        instant = SimpleNamespace(timeout=lambda _: nullcontext(), sleep=at_once)
        self.patch.setattr(stripe_client, "asyncio", instant)

    def strike(self) -> None:
        """Take the seams away: other tests of this process need the real things."""
        self.patch.undo()

    def law(self, holds: bool, otherwise: str) -> None:
        """Remember a broken law: inside the service an exception might be caught."""
        if not holds:
            self.broken.append(otherwise)

    def one(self, sql: str, *values: object) -> sqlite3.Row:
        """Return the one committed row."""
        row: sqlite3.Row = self.eye.execute(sql, values).fetchone()
        return row

    def close(self) -> None:
        """Close everything."""
        event.remove(Session, "before_flush", self._witness)
        self.loop.run_until_complete(self.gateway.close())
        self.loop.run_until_complete(self.db.close())
        self.eye.close()
        self.loop.close()

    def _fold_or_raise(self, fold: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
        async def folded(tx: Tx, by: Actor, policy: Policy, news: StripeEventData, *, livemode: bool) -> str:
            if news.id in self.poisoned:
                self.kernel.meet("a fold that raised")
                raise ValueError("a bug of ours")
            return await fold(tx, by, policy, news, livemode=livemode)

        return folded

    def _witness(self, session: Session, *_: object) -> None:
        """SQLite lets one writer in, so a forgotten lock never races here: look for the lock itself."""
        for row in [*session.new, *session.dirty]:
            if isinstance(row, Refund) and (row in session.new or session.is_modified(row)):
                held = session.info.get("locked", ())
                self.law(row.payment_id in held, f"{row.id} written, its payment not locked")


def _unsafe_but_fast(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")  # in tests only: the death of a process loses nothing
    cursor.close()
