"""All that this Stripe remembers, and what it does by itself as time passes.

Why pure: the ledger has no clock, randomness or I/O of its own. The server gives it real ones; a deterministic
test gives it a virtual clock and a seed, and the same calls then lead to the same ids, events and order.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from . import objects
from .idempotency import Keys
from .shelf import Json, Shelf, copied

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EVENT_LIFE_SECONDS = 30 * 86400  # Stripe lists events that long
GIVE_UP_SECONDS = 3 * 86400  # Stripe tries to deliver that long
LONGEST_WAIT_SECONDS = 3600.0  # between two attempts of one delivery
ABSENT: Any = object()  # as a new value: the field goes away


@dataclass
class Settings:
    """What may be changed while running; all durations in seconds."""

    settle_seconds: float = 1.0  # from a refund to its later news, and from a charge to its dispute
    latency_seconds: float = 0.0  # of every call to the API; only a server can wait
    retry_seconds: float = 1.0  # before a webhook's second attempt; doubles from there
    key_life_seconds: float = 86400.0  # from then on an idempotency key is forgotten
    rate_limit: int | None = None  # calls a second on each endpoint; None: no limit
    lock_timeouts: bool = False  # parallel refunds of one charge answer 429 lock_timeout
    balance: Literal["enough", "short_waits", "short_refuses"] = "enough"
    failed_sends_updated: bool = True  # a failure sends `refund.updated` beside `refund.failed`


@dataclass(eq=False)
class Endpoint:
    """A webhook endpoint: its row as the API shows it, and its secret."""

    row: Json
    secret: str = field(repr=False)

    @property
    def name(self) -> str:
        """Its id (`we_…`)."""
        return str(self.row["id"])

    def wants(self, event_type: str) -> bool:
        """Whether it is subscribed to `event_type`."""
        return self.row["status"] == "enabled" and any(
            wanted in ("*", event_type) for wanted in self.row["enabled_events"]
        )


@dataclass(eq=False)
class Outgoing:
    """An event on its way to one endpoint (None: no endpoint is registered). Times: seconds since 1970, UTC."""

    event: Json
    endpoint: Endpoint | None
    created_at: float
    next_attempt_at: float
    attempts: int = 0
    struck: bool = False  # a fault had its chance


@dataclass(order=True)
class Move:
    """Something that will happen by itself."""

    at: float
    number: int
    what: str = field(compare=False)
    name: str = field(compare=False)
    make: Callable[[], None] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cause:
    """The API request that events come from; both None for what happens in the Dashboard or by itself."""

    request_id: str | None = None
    key: str | None = None


NO_REQUEST = Cause()


class Ledger:
    """The whole state of one simulated Stripe account. `now` returns seconds since 1970 (UTC)."""

    def __init__(
        self,
        now: Callable[[], float],
        random: Random,
        *,
        settle_seconds: float = 1.0,
        settings: Settings | None = None,
    ) -> None:
        self.now = now
        self.random = random
        self.settings = settings or Settings(settle_seconds=settle_seconds)
        self.payment_intents = Shelf("payment_intent")
        self.charges = Shelf("charge")
        self.refunds = Shelf("refund")
        self.disputes = Shelf("dispute")
        self.events = Shelf("event")
        self.balance_transactions = Shelf("balance_transaction")
        self.refunds_of: dict[str, list[str]] = {}  # charge id -> refund ids, oldest first
        self.charges_of: dict[str, list[str]] = {}  # payment intent id -> charge ids, oldest first
        self.disputes_of: dict[str, list[str]] = {}  # charge id -> dispute ids, oldest first
        self.methods: dict[str, str] = {}  # payment method id -> name of its test card
        self.endpoints: dict[str, Endpoint] = {}
        self.mailbox: list[Outgoing] = []  # not delivered yet, and not given up
        self.keys = Keys()
        self.unfinished: dict[str, Any] = {}  # key or request id -> call answered 500 before anything was done
        self.calls_of: dict[str, deque[float]] = {}  # endpoint -> times of its calls in the last second
        self.account_id = self.new_id("acct_1")
        self._schedule: list[Move] = []
        self._moves = 0
        self._cause = NO_REQUEST

    # --- names and time ---------------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        """Return a fresh id that begins with `prefix` (`re_3`, `evt_1`)."""
        return prefix + "".join(self.random.choices(ALPHABET, k=23))

    def second(self) -> int:
        """The present whole second since 1970 (UTC), as in `created`."""
        return int(self.now())

    def schedule(self, seconds: float, what: str, name: str, make: Callable[[], None]) -> None:
        """Let `make` happen in `seconds`; `what` and `name` (an object's id) are for people."""
        self._moves += 1
        heapq.heappush(self._schedule, Move(self.now() + seconds, self._moves, what, name, make))

    def scheduled(self) -> list[Move]:
        """Return what will happen by itself, the next first."""
        return sorted(self._schedule)

    def next_move_at(self) -> float | None:
        """Return when something happens by itself next (seconds since 1970, UTC), or None."""
        return self._schedule[0].at if self._schedule else None

    def make_due_moves(self) -> int:
        """Let happen what is due by now, in the order of its time; return how many things did."""
        made = 0
        while self._schedule and self._schedule[0].at <= self.now():
            heapq.heappop(self._schedule).make()
            made += 1
        return made

    # --- changes and their events -----------------------------------------------------------------------------------

    @contextmanager
    def caused_by(self, cause: Cause) -> Iterator[None]:
        """Write `cause` into the events of this block."""
        before, self._cause = self._cause, cause
        try:
            yield
        finally:
            self._cause = before

    def change(self, row: Json, changes: Mapping[str, Any], *told: str) -> bool:
        """Write `changes` into `row` and tell them by events of the types `told`; False if nothing changed."""
        before = {name: copied(row.get(name, ABSENT)) for name in changes}
        for name, value in changes.items():
            if value is ABSENT:
                row.pop(name, None)
            else:
                row[name] = value
        previous = _differences(before, {name: row.get(name, ABSENT) for name in changes})
        if previous:
            for event_type in told:
                self.tell(event_type, row, previous)
        return bool(previous)

    def tell(self, event_type: str, row: Json, previous: Json | None = None) -> None:
        """Record an event about `row` as it is now, and mail it to every endpoint that wants it."""
        payload: Json = {"object": copied(row)}
        if previous is not None:
            payload["previous_attributes"] = copied(previous)
        self._send(
            {
                "id": self.new_id("evt_1"),
                "object": "event",
                "api_version": objects.API_VERSION,
                "created": self.second(),
                "data": payload,
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": self._cause.request_id, "idempotency_key": self._cause.key},
                "type": event_type,
            }
        )

    def tell_again(self, event: Json, only: Endpoint | None = None) -> list[Outgoing]:
        """Tell the same change by a second event with an id of its own, as Stripe sometimes does.

        `only`: to this endpoint alone. Returns the new mail.
        """
        again = {**copied(event), "id": self.new_id("evt_1"), "created": self.second(), "pending_webhooks": 0}
        return self._send(again, only)

    def _send(self, event: Json, only: Endpoint | None = None) -> list[Outgoing]:
        self.events.add(event)
        now = self.now()
        wanting = [one for one in self.endpoints.values() if only in (None, one) and one.wants(event["type"])]
        event["pending_webhooks"] = len(wanting)
        to: list[Endpoint | None] = [*wanting] if self.endpoints else [None]
        mail = [Outgoing(event, endpoint, now, now) for endpoint in to]
        self.mailbox += mail
        return mail

    def enter(self, amount: int, currency: str, source: str, kind: str, available_on: int | None = None) -> str:
        """Write a line of the balance (signed minor units) and return its id."""
        now = self.second()
        row = objects.balance_transaction(
            self.new_id("txn_3"), now, amount, currency, source, kind, now if available_on is None else available_on
        )
        self.balance_transactions.add(row)
        return str(row["id"])

    # --- the mail ---------------------------------------------------------------------------------------------------

    def add_endpoint(
        self, url: str, secret: str | None = None, enabled_events: Iterable[str] = ("*",), **given: Any
    ) -> Endpoint:
        """Register a webhook endpoint; without `secret` one is made up. Earlier events are not sent to it."""
        row = objects.webhook_endpoint(self.new_id("we_1"), self.second(), url, list(enabled_events), **given)
        endpoint = Endpoint(row, secret or self.new_id("whsec_"))
        self.endpoints[endpoint.name] = endpoint
        return endpoint

    def due_mail(self) -> list[Outgoing]:
        """Return what is to be delivered by now, in the order of its time."""
        now = self.now()
        return sorted((mail for mail in self.mailbox if mail.next_attempt_at <= now), key=lambda m: m.next_attempt_at)

    def body_of(self, outgoing: Outgoing) -> bytes:
        """Return the body to post: the event as JSON, the same `evt_` at each attempt."""
        return json.dumps(outgoing.event, ensure_ascii=False, separators=(",", ":")).encode()

    def drop_unaddressed(self) -> None:
        """Forget the mail of times without an endpoint; its events can be listed all the same."""
        if any(mail.endpoint is None for mail in self.mailbox):
            self.mailbox = [mail for mail in self.mailbox if mail.endpoint is not None]

    def delivered(self, outgoing: Outgoing) -> None:
        """Take note that the endpoint answered 2xx."""
        if outgoing in self.mailbox:
            self.mailbox.remove(outgoing)
            if outgoing.endpoint is not None:
                outgoing.event["pending_webhooks"] -= 1

    def not_delivered(self, outgoing: Outgoing) -> None:
        """Take note that an attempt failed: try again later, twice as long each time, or give up after 3 days."""
        outgoing.attempts += 1
        wait = min(self.settings.retry_seconds * 2 ** min(outgoing.attempts - 1, 30), LONGEST_WAIT_SECONDS)
        outgoing.next_attempt_at = self.now() + wait
        if outgoing.next_attempt_at > outgoing.created_at + GIVE_UP_SECONDS:
            self.lose(outgoing)

    def lose(self, outgoing: Outgoing) -> None:
        """Never deliver it; its event stays among those with `delivery_success=false`."""
        if outgoing in self.mailbox:
            self.mailbox.remove(outgoing)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """Return the old values of what changed, in nested objects too; null stands for what was not there."""
    found: Json = {}
    for name in {**before, **after}:
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if old is new or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found[name] = _differences(old, new)
        else:
            found[name] = None if old is ABSENT else old
    return found
