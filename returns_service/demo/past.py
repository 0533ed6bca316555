"""The shop's past: the service's own commands, and Stripe's simulator, on a clock that is turned from act to act.

Nothing is written past the commands, so every row has its events, and the simulator's ledger holds what they moved.
Amounts are minor units, times UTC.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
from sqlalchemy import event
from sqlmodel import col, select

from returns_service.commands import portal, receipts, returns, stripe_inbox
from returns_service.commands.api_keys import create_key
from returns_service.commands.counting import Count, Undeclared
from returns_service.commands.refunds import Adjustment, RefundRequest, refund
from returns_service.commands.return_lines import NewLine
from returns_service.commands.returns import NewReturn
from returns_service.commands.settlements import Outside, settle_outside
from returns_service.commands.staff_users import add_user
from returns_service.domain.policy import DEFAULT
from returns_service.domain.portal_offer import Pick
from returns_service.domain.search_text import normalise
from returns_service.domain.stripe_objects import NEEDED_EVENTS
from returns_service.domain.vocabulary import SCOPES, Condition, Resolution, Role, SettlementMethod
from returns_service.images import CleanPhoto
from returns_service.return_case.events import Actor
from returns_service.return_case.locked_payment import LockedPayment, lock_payment_at_stripe
from returns_service.store import schema
from returns_service.store.clock import machine_time
from returns_service.store.database import Database, Tx, insert_ignore_all
from returns_service.store.tables import Payment, PortalSession, ReturnAuthorization
from returns_service.stripe_gateway import StripeGateway, event_data_from_payload
from returns_service.stripe_gateway.parse import payment_of
from returns_service.stripe_simulator import Dashboard, Faults, Ledger, Request, answer, answer_with_fault
from returns_service.worker.charges import count_charges
from returns_service.worker.reconcile import WINDOW, reconcile
from returns_service.worker.refunds import RefundExecutor

T = TypeVar("T")
STRIPE = Actor("stripe")
AT_ONCE = 50  # refunds that the executor claims together
UNPACED = 1000.0  # writes to Stripe a second: the past is not played in its own time
BANK_SECONDS = 2.5 * 86400  # what a bank takes to settle a refund, to give one back, or to dispute a charge
PORTAL_DAYS = 60
PHOTO_STORAGE_MB = 64
PEOPLE: dict[Role, str] = {
    "warehouse": "Mara Kowalczyk",
    "approver": "Ana Novak",
    "finance": "Jide Okafor",
    "admin": "Noor Haddad",
}


def email_for(role: Role) -> str:
    """Return the address of the colleague with this role."""
    return f"{role}@demo.example"


class Clock:
    """The time of the service and of its Stripe: the past's while that is played, then the machine's."""

    def __init__(self) -> None:
        self.at: datetime | None = None

    def __call__(self) -> datetime:
        return self.at or machine_time()

    def unix(self) -> float:
        """Return the time in seconds since 1970 (UTC)."""
        return self().timestamp()


class Wire(httpx.AsyncBaseTransport):
    """Carries requests to the simulator's ledger in the same process: in the past nothing listens yet."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self.ledger, self.faults = ledger, faults

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or cut it where a fault says so."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        query, body = request.url.query.decode(), await request.aread()
        asked = Request(request.method, request.url.path, query, headers, body)
        got = answer_with_fault(self.ledger, asked, self.faults.draw_fault(asked.method, asked.path))
        if got is None:
            raise httpx.ReadError("The connection was cut.", request=request)
        return httpx.Response(got.status, headers=dict(got.headers), content=got.body, request=request)


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer bought and paid."""

    order_id: str
    customer: str
    email: str
    currency: str
    payment_intent: str
    paid_at: datetime
    lines: tuple[NewLine, ...]


class Past:
    """What people did before the demo began: customers, the shop's backend, the dock, approvers, finance, banks."""

    api_secret: str  # of the shop's key, which has every scope
    shop: Actor
    people: dict[Role, Actor]

    def __init__(self, database: Database, ledger: Ledger, clock: Clock, stripe_key: str, random: Random) -> None:
        self.database, self.ledger, self.clock, self.random = database, ledger, clock, random
        self.stripe_key = stripe_key
        self.orders = 46_100
        self._sold: list[Order] = []  # since they were written down last
        self.settle_seconds = ledger.settings.settle_seconds
        event.listen(database.writer.sync_engine, "connect", _write_lazily)
        self.dashboard = Dashboard(ledger)
        self.faults = Faults(random)
        self.gateway = StripeGateway(
            stripe_key, api_base="http://stripe.test", transport=Wire(ledger, self.faults), jitter=lambda: 0.0
        )
        self.executor = RefundExecutor(database, self.gateway, budget=UNPACED, policy=DEFAULT, warm=True)

    async def open(self, at: datetime) -> None:
        """Set the service up as of `at`: its schema, the shop's key, one person for each role. Banks take days."""
        self.clock.at = at
        self.ledger.settings.settle_seconds = BANK_SECONDS
        await schema.upgrade(self.database)

        async def work(tx: Tx) -> None:
            key, self.api_secret = await create_key(tx, "shop backend", SCOPES)
            self.shop = Actor(key.id)
            self.people = {}
            for role, name in PEOPLE.items():
                self.people[role] = Actor((await add_user(tx, email_for(role), role, name=name)).id)

        await self.run(work)

    async def close(self) -> None:
        """End the past: from now on the machine's clock counts, and banks are as quick as before."""
        self.clock.at = None
        self.ledger.settings.settle_seconds = self.settle_seconds
        self.ledger.drop_unaddressed()  # their events were delivered, or nobody ever asked for such
        await self.gateway.close()

    async def run(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Do `work` in one transaction, at the past's present."""
        return await self.database.run(work)

    # --- time, Stripe and the worker ---------------------------------------------------------------------------------

    async def turn(self, at: datetime) -> None:
        """Let time pass until `at`, and what banks do meanwhile happen at its own time."""
        while (due := self.ledger.next_move_at()) is not None and due <= at.timestamp():
            self.clock.at = max(self.clock(), datetime.fromtimestamp(due, UTC))
            await self.deliver()
        self.clock.at = max(self.clock(), at)

    async def work(self) -> None:
        """Let the worker send what is due, and Stripe tell what came of it."""
        for call in await self.executor.claim(AT_ONCE):
            await self.executor.execute(call)
        await self.deliver()

    async def compare(self) -> None:
        """Let the worker make the day's comparison with Stripe."""
        report = await reconcile(self.database, self.gateway, self.clock() - WINDOW, fix=False)
        if report.differs:
            raise RuntimeError(f"The past's books and Stripe's differ: {report.run.counts}")

    async def count_charges(self) -> None:
        """Let the worker count what Stripe charged, as far back as it looks: then the refund rate is known."""
        while await count_charges(self.database, self.gateway, Actor("worker"), DEFAULT):
            pass

    async def deliver(self) -> None:
        """Let Stripe's webhooks arrive, those that the service asks for."""
        self.ledger.make_due_moves()
        news = []
        for webhook in self.ledger.due_webhooks():
            if webhook.event["type"] in NEEDED_EVENTS:
                news.append(event_data_from_payload(self.ledger.body_of(webhook).decode()))
            self.ledger.mark_delivered(webhook)

        async def work(tx: Tx) -> None:
            for told in news:
                await stripe_inbox.store_and_fold(tx, STRIPE, DEFAULT, told, livemode=False)

        if news:
            await self.run(work)

    def next_order(self) -> str:
        """Return the number of the next order."""
        self.orders += self.random.randint(1, 3)
        return f"NW-{self.orders}"

    # --- customers and the shop's backend ----------------------------------------------------------------------------

    def buy(
        self, order_id: str, customer: str, email: str, lines: Sequence[NewLine], *,
        currency: str = "eur", shipping: int = 0, card: str = "pm_card_visa",
    ) -> Order:  # fmt: skip
        """Let a customer pay for an order; the shop makes its link to the portal."""
        paid = self.charge(sum(line.total_amount for line in lines) + shipping, currency, card)
        order = Order(order_id, customer, email, currency, paid, self.clock(), tuple(lines))
        self._sold.append(order)
        return order

    def charge(self, amount: int, currency: str, card: str = "pm_card_visa") -> str:
        """Let a customer pay at Stripe, `amount` in minor units; return the payment's id there."""
        form = {"amount": amount, "currency": currency, "payment_method": card, "confirm": "true"}
        headers = {"authorization": f"Bearer {self.stripe_key}"}
        paid = answer(self.ledger, Request("POST", "/v1/payment_intents", "", headers, urlencode(form).encode())).json()
        return str(paid["id"])

    async def keep_orders(self, tx: Tx) -> None:
        """Write down the orders that were sold since: their payments as Stripe has them, and their links."""
        sold, self._sold = self._sold, []
        payments = [self._payment_row(order) for order in sold]
        links = [_link_row(tx, order, payment, self.shop) for order, payment in zip(sold, payments, strict=True)]
        await insert_ignore_all(tx, Payment, [row.model_dump() for row in payments])
        await insert_ignore_all(tx, PortalSession, [row.model_dump() for row in links])

    def _payment_row(self, order: Order) -> Payment:
        """Return a payment as the service keeps it once it has been read for the second time."""
        intent = self.ledger.payment_intents[order.payment_intent]
        seen = payment_of(intent, self.ledger.charges[intent["latest_charge"]], [], [])
        return Payment(
            id=self.database.ids.new("pay", order.paid_at),
            payment_intent=seen.payment_intent, charge=seen.charge, currency=seen.currency, captured=seen.captured,
            authorized=seen.authorized, released=seen.released, amount_refunded=seen.amount_refunded,
            status=seen.status, livemode=seen.livemode, method=seen.method, method_type=seen.method_type,
            paid_at=seen.paid_at, observations=1, created_at=order.paid_at,
        )  # fmt: skip

    async def send_from_portal(self, order: Order, pick: Pick, photo: CleanPhoto) -> str:
        """Let the customer send a return by their order's link, with a photo; return its id."""

        async def work(tx: Tx) -> str:
            await self.keep_orders(tx)
            chosen = select(PortalSession.id).where(col(PortalSession.order_id) == order.order_id)
            session_id = (await tx.exec(chosen)).one()
            photos, room = {pick.line: [photo]}, PHOTO_STORAGE_MB
            await portal.save_picks(tx, session_id, [pick], photos, locale="en", storage_mb=room)
            locked, row = await self._lock(tx, order), await portal.lock_session(tx, session_id)
            offer = await portal.offer_for(tx, DEFAULT, row, locked.row, [pick])
            return (await portal.send(locked, Actor(session_id), DEFAULT, session_id, offer.amount)).row.id

        return await self.run(work)

    async def request(
        self, order: Order, lines: Sequence[NewLine], reason: str, *,
        resolution: Resolution = "refund", tracking_numbers: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Let the shop's backend ask for a return; return its id."""
        asked = NewReturn(
            order.order_id, order.currency, lines, reason=reason, resolution=resolution,
            customer_email=order.email, customer_name=order.customer, purchased_at=order.paid_at,
            tracking_numbers=tracking_numbers,
        )  # fmt: skip

        async def work(tx: Tx) -> str:
            await self.keep_orders(tx)
            return (await returns.create(await self._lock(tx, order), self.shop, DEFAULT, asked)).row.id

        return await self.run(work)

    async def _lock(self, tx: Tx, order: Order) -> LockedPayment:
        locked = await lock_payment_at_stripe(tx, payment_intent=order.payment_intent, charge=None)
        if locked is None:
            raise LookupError(f"{order.order_id} has no payment")
        return locked

    # --- colleagues --------------------------------------------------------------------------------------------------

    async def approve(self, return_id: str, *, override_reason: str | None = None) -> None:
        """Let the approver approve."""
        by = self.people["approver"]
        await self.run(
            partial(
                returns.approve, by=by, policy=DEFAULT, return_id=return_id, note=None, override_reason=override_reason
            )
        )

    async def decline(self, return_id: str, reason: str) -> None:
        """Let the approver decline."""
        by = self.people["approver"]
        await self.run(partial(returns.decline, by=by, policy=DEFAULT, return_id=return_id, reason=reason))

    async def cancel(self, return_id: str, reason: str) -> None:
        """Let the shop's backend cancel: the customer keeps everything."""
        await self.run(partial(returns.cancel, by=self.shop, policy=DEFAULT, return_id=return_id, reason=reason))

    async def close_return(self, return_id: str, reason: str) -> None:
        """Let finance close: the rest is not coming."""
        by = self.people["finance"]
        await self.run(partial(returns.close, by=by, policy=DEFAULT, return_id=return_id, reason=reason))

    async def count(
        self, return_id: str, units: Sequence[tuple[str, int, Condition]], undeclared: Sequence[Undeclared] = ()
    ) -> None:
        """Let the dock count units, by SKU; the worker then sends the refund to Stripe."""
        counts = [Count(quantity, condition, sku=sku) for sku, quantity, condition in units]
        by = self.people["warehouse"]
        await self.run(
            partial(
                receipts.receive, by=by, policy=DEFAULT, return_id=return_id, counts=counts,
                undeclared=undeclared, scan_id=None,
            )
        )  # fmt: skip
        await self.work()

    async def add_goodwill(self, return_id: str, amount: int, why: str, *, one_person_decides: int) -> None:
        """Let finance refund goodwill, minor units, where one person decides no more than a limit, of euros alike."""
        policy, by = replace(DEFAULT, second_person_above={"eur": one_person_decides}), self.people["finance"]
        asked = RefundRequest(adjustments=[Adjustment("goodwill", amount, why)], note=why, override_reason=why)
        await self.run(partial(refund, by=by, policy=policy, return_id=return_id, asked=asked))

    async def settle_outside(self, return_id: str, method: SettlementMethod, reference: str) -> None:
        """Let finance say that the customer got what is due by other means than Stripe.

        Where an earlier settlement took all of it, there is nothing to say.
        """
        by, asked = self.people["finance"], Outside(method, reference)

        async def work(tx: Tx) -> None:
            row = await tx.get_one(ReturnAuthorization, return_id)
            if row.due_outside or row.state == "failed":
                await settle_outside(tx, by, DEFAULT, return_id, asked)

        await self.run(work)


def _write_lazily(connection: Any, _: object) -> None:
    """Let the operating system write when it likes: a past that is lost is played again."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


def _link_row(tx: Tx, order: Order, payment: Payment, by: Actor) -> PortalSession:
    """Return the link that the shop made for an order when it was paid."""
    return PortalSession(
        id=tx.database.ids.new("pts", order.paid_at),
        order_id=order.order_id,
        payment_id=payment.id,
        currency=order.currency,
        lines=[
            {
                "sku": line.sku, "title": line.title, "quantity": line.quantity, "total_amount": line.total_amount,
                "order_line": line.order_line, "quantity_ordered": line.quantity_ordered,
                "barcodes": list(line.barcodes),
            }
            for line in order.lines
        ],
        purchased_at=order.paid_at,
        customer_email=order.email,
        email_text=normalise(order.email),
        customer_name=order.customer,
        created_by=by.actor,
        created_at=order.paid_at,
        expires_at=(order.paid_at + timedelta(days=PORTAL_DAYS)).replace(microsecond=0),
    )  # fmt: skip
