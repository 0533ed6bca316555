"""The rows of a shop's years: returns with all that hangs on them, as a real shop has them.

Nearly all are settled; a fixed number, whatever the size, is under way and on the desk, and parcels of the last months
may still come. Most customers send back once or twice, a few for years; one payment in 20,000 has dozens of returns.
What the service deletes by age (Stripe's events, deliveries, answers, mail) is there for the days that it is kept.
Bodies of events are short: what a return's rows weigh is measured by `load.py`. The same seed makes the same shop.
Amounts are minor units, times UTC.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import accumulate, count
from typing import Any

import msgspec
from sqlmodel import SQLModel

from returns_service.domain.search_text import metadata_word, normalise, searchable
from returns_service.domain.slip_code import slip_code
from returns_service.store.tables import (
    ChargeTotal,
    Delivery,
    Event,
    IdempotencyKey,
    Mail,
    Payment,
    PortalSession,
    Receipt,
    ReceiptLine,
    Refund,
    RefundWord,
    ReturnAuthorization,
    ReturnLine,
    SearchWord,
    StripeEvent,
    UndeclaredItem,
    WebhookEndpoint,
)

SPAN = timedelta(days=3 * 365)
LATEST = timedelta(hours=1)  # before now: then the newest return was asked for, and has come to where it is
AWAITED = timedelta(days=90)  # a parcel; then the shop cancels
BATCH = 2_000  # returns written at once
UNDER_WAY = 400  # of the newest returns; of a small shop a fifth
KEPT = {StripeEvent: timedelta(days=35), Delivery: timedelta(days=30), IdempotencyKey: timedelta(days=1)}
KEPT[Mail] = KEPT[Delivery]
KEPT[PortalSession] = timedelta(days=60)  # where nothing was sent by it
FIRST_NAMES = ("Ana", "Björn", "Chiara", "David", "Élise", "Fatima", "Georg", "Hana", "Igor", "Jürgen")
SYLLABLES = ("mül", "ler", "ros", "si", "no", "vák", "gar", "cía", "jen", "sen", "ko", "wal", "du", "bois", "öz", "tan")
REASONS = ("too_small", "too_large", "damaged", "not_as_described", "changed_mind")
SHARED_EVERY, SHARED = 20_000, 48  # of so many returns, so many are of one payment: a company that orders for all
SHARED_AMOUNT = 5_000
SHARED_FROM = 1_000  # returns: of fewer it would be a quarter
Rows = dict[type[SQLModel], list[Mapping[str, Any]]]
TEN_BITS = [a + b for a in "0123456789abcdefghjkmnpqrstvwxyz" for b in "0123456789abcdefghjkmnpqrstvwxyz"]


class Weights:
    """Words to choose from, and how often each comes."""

    def __init__(self, **weights: int) -> None:
        self.words, self.sums = list(weights), list(accumulate(weights.values()))

    def choose(self, dice: random.Random) -> str:
        """Return a word, as often as its weight says."""
        return dice.choices(self.words, cum_weights=self.sums)[0]


SETTLED = Weights(refunded=88, approved=5, declined=4, canceled=3)
OPEN = Weights(requested=30, approved=40, counted=5, refunding=20, failed=3, disputed=2)
CURRENCIES = Weights(usd=70, eur=29, gbp=1)


class ShopWriter:
    """A shop's rows, oldest return first."""

    def __init__(self, now: datetime, returns: int, dice: random.Random) -> None:
        self.now, self.returns, self.dice = now, returns, dice
        self.under_way = min(UNDER_WAY, returns // 5)
        self.position = 0
        self.rows: Rows = {}
        self.slip_codes: set[str] = set()
        self.shared: dict[str, Any] | None = None  # the payment that the returns at hand have in common
        self.charges: dict[tuple[datetime, str], list[int]] = {}
        self.timed = (now, "")  # a time and how ids of then begin
        self.endpoint_id = self.new_id("whe", now - SPAN)

    def batches(self) -> Iterator[Rows]:
        """Yield the rows of some returns at a time, by table; at last what belongs to no return."""
        for begin in range(0, self.returns, BATCH):
            self.rows = {}
            for number in range(begin, min(begin + BATCH, self.returns)):
                self.add_return(number)
            yield self.rows
        self.rows = {}
        if self.shared:
            self.add(Payment, **self.shared)
        for (begins_at, currency), (number, amount) in self.charges.items():
            self.add(ChargeTotal, begins_at=begins_at, currency=currency, number=number, amount=amount)
        self.add(
            WebhookEndpoint, id=self.endpoint_id, url="https://shop.example/hooks", events=["*"],
            secret="whsec_" + "0" * 32, created_at=self.now - SPAN, position=self.position,
        )  # fmt: skip
        yield self.rows

    def add(self, table: type[SQLModel], **values: Any) -> None:
        """Add one row. All rows of a table name the same columns."""
        self.rows.setdefault(table, []).append(values)

    def new_id(self, prefix: str, at: datetime) -> str:
        """Return a new id, as `store.ids` makes them but for the order within a millisecond, in a tenth of its time."""
        if at is not self.timed[0]:
            time = int(at.timestamp() * 1000)
            self.timed = at, "".join([TEN_BITS[time >> shift & 1023] for shift in (40, 30, 20, 10, 0)])
        bits, ten = self.dice.getrandbits(50), TEN_BITS
        version, variant = ten[0x7 << 6 | bits >> 44], ten[0b10 << 2 | bits & 0b1111110011]
        random = f"{ten[bits >> 34 & 1023]}{ten[bits >> 24 & 1023]}{ten[bits >> 14 & 1023]}{ten[bits >> 4 & 1023]}"
        return f"{prefix}_{self.timed[1]}{version}{variant}{random}0000"

    def new_slip_code(self, return_id: str) -> str:
        """Return the slip code of a new return, as the service draws it."""
        code = next(code for draw in count() if (code := slip_code(return_id, draw)) not in self.slip_codes)
        self.slip_codes.add(code)
        return code

    def is_kept(self, kind: type[SQLModel], at: datetime) -> bool:
        """Return whether a row of then has not been deleted by its age."""
        return self.now - at < KEPT[kind]

    def life_of(self, number: int, at: datetime) -> str:
        """Return how far a return has come."""
        if number >= self.returns - self.under_way:
            return OPEN.choose(self.dice)
        life = SETTLED.choose(self.dice)
        return "canceled" if life == "approved" and self.now - at > AWAITED else life

    def add_return(self, number: int) -> None:
        """Add one return with its payment, lines, counts, refunds and history."""
        dice = self.dice
        at = self.now - LATEST - SPAN + SPAN * (number / self.returns)
        is_shared = number % SHARED_EVERY < SHARED and self.returns >= SHARED_FROM
        life = "refunded" if is_shared else self.life_of(number, at)
        # A square: the first of them come back for years, most once or twice.
        name, email = customer(0 if is_shared else int(self.returns // 3 * dice.random() ** 2) + 1)
        currency = "usd" if is_shared else CURRENCIES.choose(dice)
        amount = SHARED_AMOUNT if is_shared else dice.randrange(10, 400) * 100
        return_id = self.new_id("ret", at)
        token = return_id.removeprefix("ret_")
        disputed = life == "disputed" or number % 997 == 996
        has_parcel = life in ("refunded", "counted", "refunding", "failed", "disputed")
        # Within an hour: the feed of events is in the order of their times, up to that.
        approved_at, received_at, sent_at, settled_at = (at + timedelta(minutes=minutes) for minutes in (6, 30, 31, 40))
        ended_at = settled_at if has_parcel else approved_at
        dispute = {"id": f"dp_{token}", "status": "lost" if life == "refunded" else "needs_response"}
        payment: dict[str, Any] = {
            "id": self.new_id("pay", at), "payment_intent": f"pi_{token}", "charge": f"ch_{token}",
            "currency": currency, "captured": amount, "authorized": amount,
            "amount_refunded": amount if life == "refunded" else 0, "status": "succeeded", "livemode": False,
            "disputed": disputed, "method": "Visa ending 4242", "method_type": "card", "paid_at": at,
            "created_at": at, "dispute": dispute if disputed else None,
        }  # fmt: skip
        if is_shared:
            payment = self._shared_payment(payment, first=number % SHARED_EVERY == 0)
        else:
            self.add(Payment, **payment)
        charged = self.charges.setdefault((_quarter(at - timedelta(days=9)), currency), [0, 0])
        charged[0] += 10  # one order in ten comes back
        charged[1] += 10 * amount
        row = {
            "id": return_id, "order_id": f"order_{100_000 + number}", "payment_id": payment["id"],
            "currency": currency, "livemode": False, "reason": dice.choice(REASONS),
            "state": {"counted": "approved", "disputed": "approved"}.get(life, life),
            "customer_email": email, "email_text": normalise(email), "customer_name": name,
            "slip_code": self.new_slip_code(return_id), "tracking_numbers": [f"1Z{number:016d}"] if number % 2 else [],
            "details": {"cart": f"c{number % 500}"}, "purchased_at": at - timedelta(days=9), "created_at": at,
            "updated_at": ended_at, "arrived_at": received_at if has_parcel else None, "version": 0,
            "follow_up_at": self.now if life == "disputed" else None,
            "follow_up_barred": {"code": "payment_disputed", "reason": "The payment is disputed."}
            if life == "disputed"
            else None,
        }  # fmt: skip
        self.rows.setdefault(ReturnAuthorization, []).append(row)
        lines = self._add_lines(row, amount, at, counted=has_parcel)
        self._add_words(row, lines)
        about = {"return_id": return_id, "payment_id": payment["id"]}
        shown = {"object": "return", "id": return_id, "currency": currency, "amount_authorized": amount}
        self.add_event(row, "return.created", at, about, shown, to="requested", trigger="create")
        self._add_answer(at, "", return_id, 3_000)
        if number % 3 == 0:
            self._add_portal_session(row, lines, at)
        if life == "requested":
            return
        trigger = {"declined": "decline", "canceled": "cancel"}.get(life, "approve")
        first = life if life in ("declined", "canceled") else "approved"
        self.add_event(row, "return.state_changed", approved_at, about, shown, to=first, trigger=trigger)
        self._add_answer(approved_at, f"/{return_id}/{trigger}", return_id, 3_000)
        if not has_parcel:
            return
        self._add_receipt(row, lines, received_at, about)
        if life in ("counted", "disputed"):
            return
        self._add_refund(row, lines, amount, life, sent_at, settled_at, payment)

    def _shared_payment(self, payment: dict[str, Any], *, first: bool) -> dict[str, Any]:
        """Return the payment of many returns, to which this one's refund is added."""
        if first or self.shared is None:
            if self.shared:
                self.add(Payment, **self.shared)
            whole = SHARED_AMOUNT * SHARED
            self.shared = payment | {"captured": whole, "authorized": whole, "amount_refunded": 0}
        self.shared["amount_refunded"] += SHARED_AMOUNT
        return self.shared

    def _add_lines(self, row: Mapping[str, Any], amount: int, at: datetime, *, counted: bool) -> list[dict[str, Any]]:
        lines = []
        for place in range(1 + self.dice.randrange(2)):
            line = {
                "id": self.new_id("rli", at), "return_id": row["id"], "position": place, "title": "Blue shirt",
                "sku": f"SHIRT-{self.dice.randrange(2_000)}", "quantity": 2,
                "total_amount": amount if place == 0 else 0, "accepted": {"new": 2} if counted else {},
            }  # fmt: skip
            self.rows.setdefault(ReturnLine, []).append(line)
            lines.append(line)
        return lines

    def _add_words(self, row: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> None:
        """Add what `commands.search_index` finds a return by."""
        words = set(words_of_customer(row["customer_name"], row["customer_email"]))
        words |= searchable((), [row["id"], row["order_id"], row["slip_code"], *row["tracking_numbers"]])
        words |= words_of_cart(row["details"]["cart"])
        for line in lines:
            words |= words_of_sku(line["sku"])
        for word in sorted(words):
            self.add(SearchWord, return_id=row["id"], word=word)

    def _add_receipt(
        self, row: dict[str, Any], lines: Sequence[Mapping[str, Any]], at: datetime, about: Mapping[str, str]
    ) -> None:
        receipt_id = self.new_id("rcp", at)
        self.add(
            Receipt, id=receipt_id, return_id=row["id"], received_by="usr_dock", scan_id=f"scan-{receipt_id}",
            fingerprint="0" * 64, created_at=at,
        )  # fmt: skip
        for line in lines:
            self.add(
                ReceiptLine, id=self.new_id("rcl", at), receipt_id=receipt_id, line_id=line["id"], sku=line["sku"],
                quantity=2, condition="new", disposition="restock", accepted=True,
            )  # fmt: skip
        if self.dice.randrange(50) == 0:
            self.add(
                UndeclaredItem, id=self.new_id("und", at), receipt_id=receipt_id, return_id=row["id"], sku="SOCK",
                quantity=1, decision="scrap", decided_by="usr_dock", decided_at=at,
            )  # fmt: skip
        self.add_event(row, "receipt.created", at, about, {"object": "receipt", "id": receipt_id})
        self.add_event(row, "return.updated", at, about, {"object": "return", "id": row["id"]})
        self._add_answer(at, f"/{row['id']}/receipts", row["id"], 500)

    def _add_refund(
        self, row: dict[str, Any], lines: Sequence[Mapping[str, Any]], amount: int, life: str, sent_at: datetime,
        settled_at: datetime, payment: Mapping[str, Any],
    ) -> None:  # fmt: skip
        status = {"refunded": "succeeded", "refunding": "pending", "failed": "failed"}[life]
        refund_id = self.new_id("rfd", sent_at)
        token = refund_id.removeprefix("rfd_")
        self.add(
            Refund, id=refund_id, payment_id=row["payment_id"], return_id=row["id"], source="return", status=status,
            amount=amount, currency=row["currency"], livemode=False, reason="requested_by_customer",
            breakdown=[{"kind": "line", "line": lines[0]["id"], "units": 2, "amount": amount}], created_by="policy",
            created_at=sent_at, updated_at=settled_at, first_attempt_at=sent_at, attempts=1, lease_token=1,
            parameters={
                "payment_intent": payment["payment_intent"], "amount": amount, "metadata": {"refund_id": refund_id}
            },
            details=row["details"], observations=2, stripe_refund=f"re_{token}", stripe_created_at=sent_at,
            failure={"code": "expired_or_canceled_card", "message": "The card is canceled."}
            if status == "failed"
            else None,
        )  # fmt: skip
        for word in words_of_cart(row["details"]["cart"]):
            self.add(RefundWord, refund_id=refund_id, word=word)
        about = {"return_id": row["id"], "payment_id": row["payment_id"]}
        of_refund = {**about, "refund_id": refund_id}
        shown = {"object": "refund", "id": refund_id, "amount": amount, "currency": row["currency"], "status": status}
        self.add_event(row, "return.state_changed", sent_at, about, shown, to="refunding", trigger="receive")
        self.add_event(row, "refund.created", sent_at, of_refund, shown)
        self.add_event(row, "refund.status_changed", settled_at, of_refund, shown, to=status)
        if life != "refunding":
            trigger = "settle" if life == "refunded" else "fail"
            event_id = self.add_event(row, "return.state_changed", settled_at, about, shown, to=life, trigger=trigger)
            if self.is_kept(Mail, settled_at):
                self.add(
                    Mail, id=self.new_id("eml", settled_at), event_id=event_id, return_id=row["id"], kind="refunded",
                    status="sent", created_at=settled_at, ended_at=settled_at,
                )  # fmt: skip
        self._add_inbox(token, sent_at)

    def _add_inbox(self, token: str, at: datetime) -> None:
        """Add what Stripe told of a payment and its refund; a body is kept as long as a delivery."""
        if not self.is_kept(StripeEvent, at):
            return
        told = ("payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "refund.created")
        for place, kind in enumerate((*told, "charge.refunded")):
            body = {"id": f"re_{token}", "type": kind, "data": "x" * 1_500}
            self.add(
                StripeEvent, id=f"evt_{place}{token}", type=kind,
                payload=msgspec.json.encode(body).decode() if self.is_kept(Delivery, at) else "",
                received_at=at, processed_at=at, outcome="folded" if place > 2 else "ignored",
            )  # fmt: skip

    def _add_answer(self, at: datetime, path: str, return_id: str, size: int) -> None:
        """Add the stored answer to a request."""
        if self.is_kept(IdempotencyKey, at):
            self.add(
                IdempotencyKey, scope=f"key_shop /v1/returns{path}", key=return_id, fingerprint="0" * 64, status=201,
                headers={}, body=msgspec.json.encode({"id": return_id, "filled": "x" * size}).decode(), created_at=at,
            )  # fmt: skip

    def _add_portal_session(self, row: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], at: datetime) -> None:
        """Add the link by which a customer asked, and one in four that nobody used."""
        offered = [{name: line[name] for name in ("sku", "title", "quantity", "total_amount")} for line in lines]
        used = [True, False] if self.dice.randrange(4) == 0 and self.is_kept(PortalSession, at) else [True]
        for is_used in used:
            self.add(
                PortalSession, id=self.new_id("pts", at), order_id=row["order_id"], payment_id=row["payment_id"],
                currency=row["currency"], lines=offered, customer_email=row["customer_email"],
                email_text=row["email_text"], customer_name=row["customer_name"],
                return_id=row["id"] if is_used else None, created_by="key_shop", created_at=at,
                expires_at=at + timedelta(days=30),
            )  # fmt: skip

    def add_event(
        self, row: dict[str, Any], kind: str, at: datetime, about: Mapping[str, str], shown: Mapping[str, Any],
        **said: str,
    ) -> str:  # fmt: skip
        """Add an event of a return and, where it is still kept, its delivery; return the event's id."""
        self.position += 1
        row["version"] += 1
        event_id = self.new_id("evt", at)
        self.add(
            Event, id=event_id, position=self.position, type=kind, sequence=row["version"], actor="key_shop",
            request_id=f"req_{event_id[4:]}", data={"object": shown, **said, **({"reason": None} if said else {})},
            created_at=at, return_id=about["return_id"], refund_id=about.get("refund_id"),
            payment_id=about["payment_id"],
        )  # fmt: skip
        if self.is_kept(Delivery, at):
            self.add(
                Delivery, id=self.new_id("dlv", at), event_id=event_id, endpoint_id=self.endpoint_id,
                stream=about["return_id"], position=self.position, status="delivered", ended_at=at, created_at=at,
                attempts=[{"at": at.isoformat(), "status": 200, "error": None}],
            )  # fmt: skip
        return event_id


@lru_cache(100_000)
def customer(number: int) -> tuple[str, str]:
    """Return the name and the address of a customer."""
    last = "".join(SYLLABLES[number // 10 >> shift & 15] for shift in (0, 4, 8))
    name = f"{FIRST_NAMES[number % 10]} {last.title()}"
    return name, f"{normalise(name).replace(' ', '.')}.{number}@example.com"


@lru_cache(100_000)
def words_of_customer(name: str, email: str) -> frozenset[str]:
    """Return the words by which a customer's returns are found."""
    return frozenset(searchable([email, name]))


@lru_cache(4_000)
def words_of_sku(sku: str) -> frozenset[str]:
    """Return the words by which returns of a SKU are found."""
    return frozenset(searchable((), [sku]))


@lru_cache(1_000)
def words_of_cart(cart: str) -> frozenset[str]:
    """Return the word by which returns of a cart are found."""
    return frozenset([metadata_word("cart", cart)])


def _quarter(at: datetime) -> datetime:
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
