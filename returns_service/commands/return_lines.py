"""The lines of a return as they are asked for, checked against the payment, the order and its other returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import text
from sqlmodel import col, select

from returns_service.domain import money
from returns_service.domain.forgotten import pseudonym
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import Resolution
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, ReturnAuthorization, ReturnLine


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line as the shop asks for it; `total_amount` is what the customer paid for these units, minor units."""

    sku: str
    quantity: int
    total_amount: int
    title: str | None = None
    reason: str | None = None
    order_line: str | None = None
    quantity_ordered: int | None = None
    barcodes: Sequence[str] = ()
    resolution: Resolution | None = None  # None: the return's
    tax_amount: int | None = None  # of `total_amount`


async def check_lines(
    tx: Tx, payment: Payment, order_id: str, lines: Sequence[NewLine], shipping_amount: int, besides: str | None = None
) -> list[NewLine]:
    """Return the lines with the numbers ordered, as far as any return of the order has told them.

    Raises Problem where they ask for more than was paid or ordered, or for units that are on another return already.
    """
    check_worth(payment, lines, shipping_amount)
    names = {pseudonym(line.order_line, order_id): line.order_line for line in lines if line.order_line is not None}
    if not names:
        return list(lines)
    if tx.postgresql:  # an order may have several payments: their locks don't meet
        await tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:order_id, 0))"), {"order_id": order_id})
    earlier = await lines_on_returns(tx, order_id, list(names.values()), besides)
    ordered = ordered_numbers(order_id, earlier, lines)
    wanted = dict.fromkeys(names, 0)
    asked: list[NewLine | ReturnLine] = [*lines, *earlier]
    for line in asked:
        if line.order_line is not None:
            wanted[pseudonym(line.order_line, order_id)] += line.quantity
    for name, units in wanted.items():
        if name in ordered and units > ordered[name]:
            raise Problem(
                "units_already_returned",
                order_line=names[name],
                quantity=units,
                quantity_ordered=ordered[name],
                returns=_returns_of(order_id, earlier, name),
            )

    def number_of(line: NewLine) -> int | None:
        named = pseudonym(line.order_line, order_id) if line.order_line is not None else ""
        return ordered.get(named, line.quantity_ordered)

    return [replace(line, quantity_ordered=number_of(line)) for line in lines]


def _returns_of(order_id: str, lines: Sequence[ReturnLine], name: str) -> list[str]:
    """Return the ids of the returns whose lines are of an order line, named by its stand-in, oldest first."""
    return sorted({line.return_id for line in lines if pseudonym(line.order_line or "", order_id) == name})


def check_worth(payment: Payment, lines: Sequence[NewLine], shipping_amount: int) -> None:
    """Raise Problem where lines and shipping (minor units) ask for more than was paid, or a line for more than ordered.

    Also where an amount is not a step of the payment's currency, or a line says more tax than was paid.
    """
    asked = sum(line.total_amount for line in lines) + shipping_amount
    if asked > payment.captured:
        said = money.tell_excess(asked, payment.captured, payment.currency)
        raise Problem("amount_exceeds_payment", said, amount=asked, captured=payment.captured, param="lines")
    smallest = money.step(payment.currency)
    for number, line in enumerate(lines):
        if line.total_amount % smallest:
            raise Problem("amount_not_a_step", param=f"lines[{number}].total_amount", step=smallest)
        check_tax(line.total_amount, line.tax_amount, f"lines[{number}].tax_amount")
        if line.quantity_ordered is not None and line.quantity > line.quantity_ordered:
            raise Problem(
                "quantity_exceeds_ordered",
                param=f"lines[{number}].quantity",
                quantity=line.quantity,
                quantity_ordered=line.quantity_ordered,
            )


async def lines_on_returns(
    tx: Tx, order_id: str, order_lines: Sequence[str], besides: str | None = None
) -> Sequence[ReturnLine]:
    """Return the lines of the order's returns that are of these order lines and neither declined nor canceled.

    By stand-in too: a return may be forgotten, and its order lines with it.
    """
    chosen = (
        select(ReturnLine)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(ReturnLine.return_id))
        .where(
            col(ReturnAuthorization.order_id) == order_id,
            col(ReturnAuthorization.state).not_in(("declined", "canceled")),
            col(ReturnLine.order_line).in_([*order_lines, *(pseudonym(name, order_id) for name in order_lines)]),
            col(ReturnAuthorization.id) != (besides or ""),
        )
    )
    return (await tx.exec(chosen)).all()


def keep_numbers(lines: Sequence[NewLine], before: Sequence[ReturnLine]) -> list[NewLine]:
    """Return a return's new lines, each with the number ordered that the line before had told."""
    numbers: dict[str | None, int | None] = {
        line.order_line: line.quantity_ordered for line in before if line.order_line is not None
    }
    anew = {line.order_line for line in lines if line.quantity_ordered is not None}
    return [
        line if line.order_line in anew else replace(line, quantity_ordered=numbers.get(line.order_line))
        for line in lines
    ]


def check_tax(total: int, tax: int | None, param: str) -> None:
    """Raise Problem tax_exceeds_total where more tax than was paid is said to be in it."""
    if tax is not None and tax > total:
        raise Problem("tax_exceeds_total", param=param, tax_amount=tax, total_amount=total)


def ordered_numbers(order_id: str, earlier: Sequence[ReturnLine], lines: Sequence[NewLine]) -> dict[str, int]:
    """Return how many units were ordered, by each order line's stand-in: the first number that was told holds.

    Raises Problem quantity_ordered_differs where a line tells another.
    """
    ordered: dict[str, int] = {}
    for old in sorted(earlier, key=lambda line: line.id):
        if old.order_line is not None and old.quantity_ordered is not None:
            ordered.setdefault(pseudonym(old.order_line, order_id), old.quantity_ordered)
    for number, line in enumerate(lines):
        if line.order_line is None or line.quantity_ordered is None:
            continue
        known = ordered.setdefault(pseudonym(line.order_line, order_id), line.quantity_ordered)
        if known != line.quantity_ordered:
            place = f"lines[{number}].quantity_ordered"
            raise Problem("quantity_ordered_differs", param=place, order_line=line.order_line, quantity_ordered=known)
    return ordered


def new_line(tx: Tx, row: ReturnAuthorization, position: int, line: NewLine) -> ReturnLine:
    """Return the row of a line."""
    return ReturnLine(
        id=tx.new_id("rli"),
        return_id=row.id,
        position=position,
        sku=line.sku,
        title=line.title,
        reason=line.reason,
        order_line=line.order_line,
        quantity_ordered=line.quantity_ordered,
        quantity=line.quantity,
        total_amount=line.total_amount,
        barcodes=list(line.barcodes) or None,
        resolution=line.resolution or row.resolution,
        tax_amount=line.tax_amount,
    )


def as_requested_line(line: ReturnLine) -> NewLine:
    """Return a stored line as it was asked for."""
    return NewLine(
        line.sku, line.quantity, line.total_amount, line.title, line.reason, line.order_line, line.quantity_ordered,
        line.barcodes or (), line.resolution, line.tax_amount,
    )  # fmt: skip
