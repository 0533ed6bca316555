"""The state of one simulated Stripe account, and the moves that it makes by itself as time passes.

The ledger has no clock, randomness or I/O of its own. The server gives it real ones; a deterministic test gives it a
virtual clock and a seed, and the same calls then lead to the same ids, events and order.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from . import objects, versions
from .api_keys import ApiKey
from .collection import Collection, Json, copy_json
from .idempotency import Keys
from .settings import Settings

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EVENT_LIFE_SECONDS = 30 * 86400  # Stripe lists events that long (docs.stripe.com/api/events)
GIVE_UP_SECONDS = 3 * 86400  # Stripe retries a webhook that long (docs.stripe.com/webhooks)
LONGEST_WAIT_SECONDS = 3600.0  # between two attempts of one delivery
ABSENT: Any = object()  # as a new value: the field goes away


@dataclass(eq=False)
class Endpoint:
    """A webhook endpoint: its row as the API returns it, and its signing secret."""

    row: Json
    secret: str = field(repr=False)
    is_trusted: bool = False  # its URL comes from the simulator's operator, not from a call

    @property
    def name(self) -> str:
        """Its id (`we_…`)."""
        return str(self.row["id"])

    def wants(self, event_type: str) -> bool:
        """Return whether it is subscribed to `event_type`."""
        return self.row["status"] == "enabled" and any(name in ("*", event_type) for name in self.row["enabled_events"])


@dataclass(eq=False)
class OutgoingWebhook:
    """An event on its way to one endpoint (None: no endpoint is registered). Times are seconds since 1970 (UTC)."""

    event: Json
    endpoint: Endpoint | None
    created_at: float
    next_attempt_at: float
    attempts: int = 0
    fault_drawn: bool = False
    old_event: Json | None = None  # the event in the shape of the endpoint's own API version


@dataclass(order=True)
class Move:
    """A move that Stripe or a bank makes by itself at the time `at` (seconds since 1970, UTC)."""

    at: float
    number: int
    what: str = field(compare=False)
    name: str = field(compare=False)
    make: Callable[[], None] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cause:
    """The API request that causes events, and its API version; all None for a move in the Dashboard or by itself."""

    request_id: str | None = None
    key: str | None = None
    api_version: str | None = None


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
        self.payment_intents = Collection("payment_intent")
        self.charges = Collection("charge")
        self.refunds = Collection("refund")
        self.disputes = Collection("dispute")
        self.events = Collection("event")
        self.balance_transactions = Collection("balance_transaction")
        self.customers = Collection("customer")
        self.payment_methods = Collection("payment_method")
        self.refunds_of: dict[str, list[str]] = {}  # charge id -> refund ids, oldest first
        self.charges_of: dict[str, list[str]] = {}  # payment intent id -> charge ids, oldest first
        self.disputes_of: dict[str, list[str]] = {}  # charge id -> dispute ids, oldest first
        self.releases: set[str] = set()  # ids of the refunds that stand for an amount never captured
        self.methods: dict[str, str] = {}  # payment method id -> name of its test method
        self.api_keys: dict[str, ApiKey] = {}  # secret -> limits; a test key that is not here may do everything
        self.endpoints: dict[str, Endpoint] = {}
        self.outbox: list[OutgoingWebhook] = []  # neither delivered nor given up
        self.keys = Keys()
        self.unfinished: dict[str, Any] = {}  # key or request id -> call that got a stored 500 and had no effect
        self.calls_of: dict[str, deque[float]] = {}  # endpoint -> times of its calls in the last second
        self.account_id = self.new_id("acct_1")
        self._schedule: list[Move] = []
        self._moves = 0
        self._cause = NO_REQUEST

    # --- names and time ---------------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        """Return a new id that begins with `prefix` (`re_3`, `evt_1`)."""
        return prefix + "".join(self.random.choices(ALPHABET, k=23))

    def second(self) -> int:
        """Return the present whole second since 1970 (UTC), as in `created`."""
        return int(self.now())

    def schedule(self, seconds: float, what: str, name: str, make: Callable[[], None]) -> None:
        """Call `make` in `seconds`. `what` and `name` (an object's id) describe the move to people."""
        self._moves += 1
        heapq.heappush(self._schedule, Move(self.now() + seconds, self._moves, what, name, make))

    def list_moves(self) -> list[Move]:
        """Return the moves to come, the next one first."""
        return sorted(self._schedule)

    def next_move_at(self) -> float | None:
        """Return the time of the next move (seconds since 1970, UTC), or None."""
        return self._schedule[0].at if self._schedule else None

    def make_due_moves(self) -> int:
        """Make the moves due by now, in the order of their times; return how many."""
        count = 0
        while self._schedule and self._schedule[0].at <= self.now():
            heapq.heappop(self._schedule).make()
            count += 1
        return count

    @property
    def api_version(self) -> str:
        """The API version of the call that executes now; the account's default outside a call."""
        return self._cause.api_version or self.settings.api_version

    def find_refunds(self, charge: str) -> list[Json]:
        """Return the refunds of the charge with this id, the oldest first."""
        return [self.refunds[name] for name in self.refunds_of.get(charge, [])]

    def find_charges(self, intent: str) -> list[Json]:
        """Return the charges of the PaymentIntent with this id, the oldest first."""
        return [self.charges[name] for name in self.charges_of.get(intent, [])]

    # --- changes and their events -----------------------------------------------------------------------------------

    @contextmanager
    def caused_by(self, cause: Cause) -> Iterator[None]:
        """Write `cause` into the events of this block."""
        before, self._cause = self._cause, cause
        try:
            yield
        finally:
            self._cause = before

    def change(self, row: Json, changes: Mapping[str, Any], *event_types: str) -> bool:
        """Write `changes` into `row` and emit events of `event_types`. Return False if nothing changed."""
        before = {name: copy_json(row.get(name, ABSENT)) for name in changes}
        for name, value in changes.items():
            if value is ABSENT:
                row.pop(name, None)
            else:
                row[name] = value
        previous = _differences(before, {name: row.get(name, ABSENT) for name in changes})
        if previous:
            for event_type in event_types:
                self.emit(event_type, row, previous)
        return bool(previous)

    def emit(self, event_type: str, row: Json, previous: Json | None = None) -> None:
        """Record an event about `row` as it is now, and send it to every endpoint that wants it."""
        payload: Json = {"object": copy_json(row)}
        if previous is not None:
            payload["previous_attributes"] = copy_json(previous)
        self._send(
            {
                "id": self.new_id("evt_1"),
                "object": "event",
                "api_version": self.settings.api_version,
                "created": self.second(),
                "data": payload,
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": self._cause.request_id, "idempotency_key": self._cause.key},
                "type": event_type,
            }
        )

    def emit_again(self, event: Json, only: Endpoint | None = None) -> list[OutgoingWebhook]:
        """Emit a second event about the same change, with an id of its own, as Stripe sometimes does.

        `only`: to this endpoint alone. Returns the new webhooks.
        """
        again = {**copy_json(event), "id": self.new_id("evt_1"), "created": self.second(), "pending_webhooks": 0}
        return self._send(again, only)

    def _send(self, event: Json, only: Endpoint | None = None) -> list[OutgoingWebhook]:
        self.events.add(event)
        now = self.now()
        takers = [one for one in self.endpoints.values() if only in (None, one) and one.wants(event["type"])]
        event["pending_webhooks"] = len(takers)
        to: list[Endpoint | None] = [*takers] if self.endpoints else [None]
        webhooks = [OutgoingWebhook(event, one, now, now, old_event=self._render_for(one, event)) for one in to]
        self.outbox += webhooks
        return webhooks

    def _render_for(self, endpoint: Endpoint | None, event: Json) -> Json | None:
        """Return `event` in the endpoint's own API version; None if that is the account's."""
        version = None if endpoint is None else endpoint.row["api_version"]
        return versions.render_event(self, event, version) if version not in (None, event["api_version"]) else None

    def book(
        self,
        amount: int,
        currency: str,
        source: str,
        kind: str,
        *,
        category: str | None = None,
        available_on: int | None = None,
    ) -> str:
        """Book a balance transaction of `amount` signed minor units and return its id.

        `kind` is its `type`, and its `reporting_category` unless `category` is given
        (docs.stripe.com/reports/reporting-categories). `available_on` is in seconds since 1970 (UTC).
        """
        now = self.second()
        available = now if available_on is None else available_on
        row = objects.build_balance_transaction(
            self.new_id("txn_3"), now, amount, currency, source, kind, category or kind, available
        )
        self.balance_transactions.add(row)
        return str(row["id"])

    # --- webhooks ---------------------------------------------------------------------------------------------------

    def add_endpoint(
        self, url: str, secret: str | None = None, enabled_events: Iterable[str] = ("*",), **more: Any
    ) -> Endpoint:
        """Register a webhook endpoint; without `secret` it gets a random one. It receives later events only."""
        row = objects.build_webhook_endpoint(self.new_id("we_1"), self.second(), url, list(enabled_events), **more)
        endpoint = Endpoint(row, secret or self.new_id("whsec_"))
        self.endpoints[endpoint.name] = endpoint
        return endpoint

    def due_webhooks(self) -> list[OutgoingWebhook]:
        """Return the webhooks due by now, in the order of their times."""
        now = self.now()
        due = (webhook for webhook in self.outbox if webhook.next_attempt_at <= now)
        return sorted(due, key=lambda webhook: webhook.next_attempt_at)

    def body_of(self, webhook: OutgoingWebhook) -> bytes:
        """Return the body to post: the event as JSON, with the same `evt_` at each attempt."""
        event = webhook.event
        if webhook.old_event is not None:
            event = {**webhook.old_event, "pending_webhooks": event["pending_webhooks"]}
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()

    def drop_unaddressed(self) -> None:
        """Drop the webhooks emitted while no endpoint was registered; the API still lists their events."""
        if any(webhook.endpoint is None for webhook in self.outbox):
            self.outbox = [webhook for webhook in self.outbox if webhook.endpoint is not None]

    def mark_delivered(self, webhook: OutgoingWebhook) -> None:
        """Record that the endpoint answered 2xx."""
        if webhook in self.outbox:
            self.outbox.remove(webhook)
            if webhook.endpoint is not None:
                webhook.event["pending_webhooks"] -= 1

    def mark_failed(self, webhook: OutgoingWebhook) -> None:
        """Record a failed attempt: the next comes later, twice as late each time; after 3 days Stripe gives up."""
        webhook.attempts += 1
        wait = min(self.settings.retry_seconds * 2 ** min(webhook.attempts - 1, 30), LONGEST_WAIT_SECONDS)
        webhook.next_attempt_at = self.now() + wait
        if webhook.next_attempt_at > webhook.created_at + GIVE_UP_SECONDS:
            self.lose(webhook)

    def lose(self, webhook: OutgoingWebhook) -> None:
        """Never deliver the webhook; its event stays among those with `delivery_success=false`."""
        if webhook in self.outbox:
            self.outbox.remove(webhook)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """Return the old values of the changed fields, in nested objects too; null stands for an absent field."""
    previous: Json = {}
    for name in {**before, **after}:
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if old is new or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            previous[name] = _differences(old, new)
        else:
            previous[name] = None if old is ABSENT else old
    return previous
