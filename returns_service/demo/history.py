"""Ninety days of orders and returns, as a small shop has them, with their articles and reasons.

A life of an order is a chain of acts, each at its own time; an act later than the present stays undone, and its
return waits on the pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlmodel import col, select

from returns_service.commands.failed_refunds import Part, retry
from returns_service.commands.return_lines import NewLine
from returns_service.demo.calendar import Calendar, Do
from returns_service.demo.catalogue import (
    FIRST_NAMES,
    LAST_NAMES,
    PRODUCTS,
    RECALLED,
    REGULARS,
    SHIPPING,
    Product,
    email_of,
)
from returns_service.demo.past import Order
from returns_service.domain.policy import DEFAULT
from returns_service.domain.vocabulary import Condition, Resolution
from returns_service.store.tables import Refund

ORDERS_A_DAY: Final = (5, 6, 6, 6, 7, 9, 8)  # Monday to Sunday
WHOLESALE_A_DAY: Final = 4  # around the clock; nothing of it comes back, and a day's refunds are few beside it
WHOLESALE_AMOUNTS: Final = (50_000, 140_000)  # minor units: at least, at most
DOLLARS: Final = 0.12  # the share of orders from overseas
ALONE: Final = 0.5  # an order holds several articles, of which one comes back
OLD_FRIENDS: Final = 0.1  # the share of orders by customers who buy again and again
RECALL_DAYS: Final = (26, 20)  # ago: from and to
WORK_BEGINS, WORK_ENDS = 7, 15  # hours, UTC
TRAVEL_HOURS: Final = (48, 216, 84)  # of a parcel: at least, at most, most often
DECLINED: Final = "It was worn outside: the soles show it."
KEPT: Final = "The customer keeps it after all."
REST_KEPT: Final = "The customer keeps the rest."
BARCODES: Final = {product.sku: (product.barcode,) for product in PRODUCTS}


class History:
    """The shop's everyday life, drawn from a generator: the same one in every demo that begins on the same day."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar, self.past, self.random = calendar, calendar.past, calendar.past.random
        self.late_failures = 0

    def plan(self, begins_at: datetime) -> None:
        """Let customers buy, day by day."""
        day = begins_at
        while day < self.calendar.ends_at:
            for _ in range(max(1, round(self.random.gauss(ORDERS_A_DAY[day.weekday()], 1.5)))):
                self.calendar.add(day + timedelta(seconds=self._second_of_day()), self._buy)
            for number in range(WHOLESALE_A_DAY):
                at = day + timedelta(days=(number + self.random.random()) / WHOLESALE_A_DAY)
                self.calendar.add(at, self._sell_wholesale)
            if self._is_recalled(day):
                for _ in range(2):
                    at = day + timedelta(seconds=self._second_of_day())
                    self.calendar.add(at, partial(self._buy, only=RECALLED))
            day += timedelta(days=1)

    def _is_recalled(self, day: datetime) -> bool:
        days_ago = (self.calendar.ends_at - day).days
        return RECALL_DAYS[1] <= days_ago <= RECALL_DAYS[0]

    def _second_of_day(self) -> float:
        """Return when on a day somebody sits before a screen: rarely at night, most often in the evening."""
        return min(86_399.0, max(0.0, self.random.triangular(5, 23, 19) * 3600 + self.random.uniform(0, 60)))

    def _work_time(self, after: datetime, hours: float) -> datetime:
        """Return a time in working hours, so long after another one."""
        at = after + timedelta(hours=hours)
        while at.weekday() >= 5 or not WORK_BEGINS <= at.hour < WORK_ENDS:
            at = (at + timedelta(hours=1)).replace(minute=self.random.randrange(60), second=self.random.randrange(60))
        return at

    # --- one order's life --------------------------------------------------------------------------------------------

    async def _buy(self, only: str | None = None) -> None:
        chosen = [product for product in PRODUCTS if product.sku == only] or self._basket()
        lines = [line_of(product, self.random.choice((1, 1, 1, 2))) for product in chosen]
        returned = [line for line, product in zip(lines, chosen, strict=True)
                    if only or self.random.random() < product.share_returned * ALONE]  # fmt: skip
        customer = self._customer()
        currency = "usd" if self.random.random() < DOLLARS else "eur"
        card = "pm_card_pendingRefund" if self.random.random() < 0.1 else self.random.choice(
            ("pm_card_visa", "pm_card_mastercard", "pm_card_visa_debit", "pm_card_amex"))  # fmt: skip
        order = self.past.buy(
            self.past.next_order(), customer, email_of(customer), lines, currency=currency, shipping=SHIPPING, card=card
        )
        if not returned:
            return
        asked = [self._part(line) for line in returned]
        reason = "damaged" if only else self.random.choice(_product(returned[0]).reasons)
        self._later(2 + self.random.expovariate(1 / 5), partial(self._ask, order, asked, reason))

    async def _sell_wholesale(self) -> None:
        currency = "usd" if self.random.random() < DOLLARS else "eur"
        self.past.charge(self.random.randrange(*WHOLESALE_AMOUNTS, 100), currency)

    def _customer(self) -> str:
        """Return the name of who buys: now and then somebody who was here before."""
        if self.random.random() < OLD_FRIENDS:
            return self.random.choice(REGULARS)
        return f"{self.random.choice(FIRST_NAMES)} {self.random.choice(LAST_NAMES)}"

    def _basket(self) -> list[Product]:
        weights, number = [product.weight for product in PRODUCTS], self.random.choice((1, 1, 2, 2, 3, 4))
        return list({p.sku: p for p in self.random.choices(PRODUCTS, weights, k=number)}.values())

    def _part(self, line: NewLine) -> NewLine:
        """Return one unit of a line, or all of it."""
        if line.quantity == 1 or self.random.random() < 0.5:
            return line
        return line_of(_product(line), 1, ordered=line.quantity)

    def _later(self, days: float, do: Do) -> None:
        self.calendar.add(self.past.clock() + timedelta(days=days), do)

    def _at_work(self, hours: float, do: Do) -> None:
        self.calendar.add(self._work_time(self.past.clock(), hours), do)

    async def _ask(self, order: Order, lines: Sequence[NewLine], reason: str) -> None:
        draw = self.random.random()
        resolution: Resolution = "exchange" if draw < 0.06 else "store_credit" if draw < 0.09 else "refund"
        tracking = f"00340434{self.random.randrange(10**12):012}"
        return_id = await self.past.request(order, lines, reason, resolution=resolution, tracking_numbers=[tracking])
        if draw > 0.96:
            self._at_work(2, partial(self.past.decline, return_id, DECLINED))
            return
        in_window = (self.past.clock().date() - order.paid_at.date()).days <= DEFAULT.window_days
        override = None if in_window else "A regular: the parcel was late."
        wait_hours = self.random.expovariate(1 / 3)
        self._at_work(wait_hours, partial(self._approve, return_id, lines, resolution, override))

    async def _approve(
        self, return_id: str, lines: Sequence[NewLine], resolution: Resolution, override: str | None
    ) -> None:
        await self.past.approve(return_id, override_reason=override)
        draw, travel_hours = self.random.random(), self.random.triangular(*TRAVEL_HOURS)
        units = [(line.sku, line.quantity) for line in lines]
        if draw < 0.04:
            self._later(1, partial(self.past.cancel, return_id, KEPT))
        elif draw < 0.09 and sum(quantity for _, quantity in units) > 1:
            first = [(units[0][0], 1)]
            self._at_work(travel_hours, partial(self._arrive, return_id, first, resolution))
            self._at_work(travel_hours + 120, partial(self.past.close_return, return_id, REST_KEPT))
        elif draw < 0.14 and len(units) > 1:  # in two parcels
            self._at_work(travel_hours, partial(self._arrive, return_id, units[:1], resolution))
            self._at_work(travel_hours + 48, partial(self._arrive, return_id, units[1:], resolution))
        else:
            self._at_work(travel_hours, partial(self._arrive, return_id, units, resolution, is_all=True))

    async def _arrive(
        self, return_id: str, units: Sequence[tuple[str, int]], resolution: Resolution, *, is_all: bool = False
    ) -> None:
        conditions: tuple[Condition, ...] = ("new", "new", "new", "opened", "damaged")
        await self.past.count(return_id, [(sku, number, self.random.choice(conditions)) for sku, number in units])
        if resolution == "exchange":
            self._at_work(20, partial(self.past.settle_outside, return_id, "exchange", self.past.next_order()))
        elif resolution == "store_credit":
            credit = f"GC-{self.random.randrange(10**6):06}"
            self._at_work(20, partial(self.past.settle_outside, return_id, "store_credit", credit))
        elif is_all and self.random.random() < 0.03:
            self._later(3.5, partial(self._fail_late, return_id))

    async def _fail_late(self, return_id: str) -> None:
        """Let a bank give a refund back, days after it succeeded; finance sees to it on the next morning."""
        async with self.past.database.reading() as tx:
            chosen = select(Refund).where(col(Refund.return_id) == return_id, col(Refund.status) == "succeeded")
            rows = (await tx.exec(chosen)).all()
        if len(rows) != 1 or rows[0].stripe_refund is None:
            return
        self.past.dashboard.fail(rows[0].stripe_refund, "expired_or_canceled_card")
        await self.past.deliver()
        self.late_failures += 1
        if self.late_failures % 2:
            reference = f"SEPA-{self.past.clock():%Y-%m}-{self.late_failures:04}"
            self._at_work(16, partial(self.past.settle_outside, return_id, "bank_transfer", reference))
        else:
            self._at_work(16, partial(self._retry, return_id))

    async def _retry(self, return_id: str) -> None:
        by = self.past.people["finance"]
        await self.past.run(
            partial(
                retry, by=by, policy=DEFAULT, return_id=return_id, refund_id=None, part=Part(), override_reason=None
            )
        )
        await self.past.work()


def _product(line: NewLine) -> Product:
    return next(product for product in PRODUCTS if product.sku == line.sku)


def line_of(product: Product, quantity: int, ordered: int | None = None) -> NewLine:
    """Return so many units of an article as the shop's backend names them."""
    return NewLine(
        product.sku, quantity, product.price * quantity,
        title=product.title, order_line=product.sku, quantity_ordered=ordered or quantity,
        barcodes=BARCODES[product.sku],
    )  # fmt: skip
