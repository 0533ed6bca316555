"""Shows a payment, with its refunds and what is left of it, and refunds a part of it that belongs to no return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from litestar import Response

from returns_service.domain.money import format_amount
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.roles import PAY
from returns_service.domain.stripe_objects import describe_unpaid, has_captured
from returns_service.queries.history import names_of
from returns_service.queries.payments import payment_named, refunds_of_payment
from returns_service.queries.second_person import decided_by_person_of
from returns_service.return_case.locked_payment import is_held, refundable
from returns_service.return_case.waiting import amounts_by_place
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund
from returns_service.web.operations.ask_stripe import target_named
from returns_service.web.operations.operation import Empty, OperationCall
from returns_service.web.operations.payments import adopt_unless_paid
from returns_service.web.operations.query_string import Query
from returns_service.web.operations.refunds import create_refund
from returns_service.web.pages.flashes import read_flashes
from returns_service.web.pages.forms import SHOWN_AGAIN, Act, Choices, FormAct, FormField, body_of
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.problem_words import describe_problem
from returns_service.web.pages.refund_acts import acts_on_refund
from returns_service.web.pages.rendering import render
from returns_service.web.pages.return_acts import CURRENCY, OVERRIDE, REFUND_NOW, url_of
from returns_service.web.pages.stories import STATUSES

PATH: Final = "/refunds/payments"
UNKNOWN: Final = "Enter Stripe’s id of the payment: it begins with pi_ or ch_."
NO_REASON: Final = ("", "None of these")


def _body(call: PageCall) -> dict[str, Any]:
    target = target_named(call.path("payment_id"))
    if target is None:
        raise Problem("not_found")
    return {**target.model_dump(exclude_none=True), **body_of(REFUND_PAYMENT.fields, call)}


async def _reason_choices(call: PageCall, _: Tx) -> Choices:
    return {"reason": _reasons_to_choose(call.context.policy)}


def _reasons_to_choose(policy: Policy) -> list[tuple[str, str]]:
    return [NO_REASON, *((code, reason.label) for code, reason in policy.reasons.items())]


REFUND_PAYMENT: Final = FormAct(
    "refund_payment", f"{PATH}/{{payment_id:str}}/refund", "Refund", create_refund,
    (
        CURRENCY,
        FormField("amount", "Amount", "amount", "At most what is left.", True, "Enter the amount."),
        FormField("reason", "Reason", "choice"),
        FormField("note", "What is it for?", "area", "For colleagues, and kept in the history.", True,
                  "Say what it is for, in a sentence."),
        OVERRIDE,
    ),
    build=_body, home=PATH, choices=_reason_choices, names=REFUND_NOW,
)  # fmt: skip
FORMS: Final[tuple[FormAct, ...]] = (REFUND_PAYMENT,)


def payment_path(payment: Payment) -> str:
    """Return the address of a payment's page."""
    return f"{PATH}?payment={payment.payment_intent or payment.charge}"


@dataclass(frozen=True, slots=True)
class RefundOfPayment:
    """One refund of a payment, and what this person can do about it."""

    refund: Refund
    order_id: str | None
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class PaymentShown:
    """A payment with its refunds, and the refund that can be made of it now, or why none can. Minor units."""

    payment: Payment
    name: str  # Stripe's
    refunds: Sequence[RefundOfPayment]
    names: Mapping[str, str]  # of those who decided the refunds
    left: int
    refunded: int
    on_its_way: int
    not_sent: int  # it waits for a worker, or at Stripe for the shop's balance
    unapproved: int  # it waits for a second person
    act: Act | None
    barred: str

    @property
    def path(self) -> str:
        """The address of the page with this payment open."""
        return payment_path(self.payment)


@shows(PATH, scope=PAY, personal=True)
async def show_payment(call: PageCall) -> Response[Any]:
    """Show the payment that is asked for, by Stripe's id or ours; one never seen paid is read at Stripe first."""
    wanted, problem, shown = call.query("payment"), None, None
    if wanted:
        try:
            await _adopt(call, wanted)
        except Problem as refused:
            if refused.kind.status not in SHOWN_AGAIN:
                raise
            problem = refused
    async with call.context.database.reading() as tx:
        flashes = await read_flashes(call, tx)
        if wanted and problem is None:
            shown = await _load_payment(call, tx, wanted)
            problem = None if shown else Problem("payment_missing", UNKNOWN)
    return render(
        call, "payments.html", status=problem.kind.status if problem else 200, wanted=wanted, problem=problem,
        wrong=describe_problem(problem).text if problem else "", shown=shown, flashes=flashes, statuses=STATUSES,
    )  # fmt: skip


async def _adopt(call: PageCall, name: str) -> None:
    """Let Stripe tell of a payment that the service has never seen, or never paid. Raises Problem."""
    if target_named(name) is None and not name.startswith("pay_"):
        raise Problem("payment_missing", UNKNOWN)
    await adopt_unless_paid(OperationCall(call.context, call.by, {"payment_id": name}, Query(), Empty()))


async def _load_payment(call: PageCall, tx: Tx, name: str) -> PaymentShown | None:
    payment = await payment_named(tx, name)
    if payment is None:
        return None
    found = await refunds_of_payment(tx, payment.id)
    rows = [one.refund for one in found]
    own = await decided_by_person_of(tx, call.by.actor, rows)
    refunds = [
        RefundOfPayment(one.refund, one.order_id,
                        acts_on_refund(one.refund, payment, call.may, decided_it=one.refund.id in own))
        for one in found
    ]  # fmt: skip
    left, waits = max(0, refundable(payment, rows)), amounts_by_place(rows)
    barred, stripes = _why_barred(payment, left), payment.payment_intent or payment.charge or payment.id
    return PaymentShown(
        payment, stripes, refunds, await names_of(tx, sorted({row.created_by for row in rows})), left,
        sum(row.amount for row in rows if row.status == "succeeded"),
        waits["on_its_way"] + waits["unknown"], waits["unsent"] + waits["balance"], waits["second_person"],
        None if barred else _act(payment, stripes, left, call.context.policy), barred,
    )  # fmt: skip


def _why_barred(payment: Payment, left: int) -> str:
    """Return why nothing can be refunded now; empty where something can."""
    if payment.connect:
        return "A Connect payment is refunded in Stripe’s Dashboard."
    if not has_captured(payment.status, payment.captured):
        return describe_unpaid(payment.status)
    if payment.disputed:
        return "The customer disputes this payment: Stripe refuses refunds until the dispute is won."
    return "" if left else "Nothing is left to refund."


def _act(payment: Payment, name: str, left: int, policy: Policy) -> Act:
    amount, target = format_amount(left, payment.currency), payment.method or "the payment"
    text = (
        f"{amount} is left. It counts for no return: what is due there stays due. This moves money and can’t be taken "
        "back."
    )
    held = "A refund made in Stripe’s Dashboard waits on the desk, unexplained: it may be this one. "
    if payment.held_until_read:
        held = "Stripe tells of a refund that is not known here: nothing is sent before the payment is read. "
    return Act(
        REFUND_PAYMENT, url_of(REFUND_PAYMENT, payment_id=name), f"Refund {{}} to {target}?",
        held + text if is_held(payment) else text, REFUND_NOW, REFUND_PAYMENT.label,
        values={"currency": payment.currency}, choices={"reason": _reasons_to_choose(policy)}, primary=True,
        required=frozenset({"override_reason"} if is_held(payment) else ()),
    )  # fmt: skip


PAGES: Final[tuple[Page, ...]] = (show_payment,)
