"""What finance can do about one refund: ask Stripe, retry, settle, send again, cancel, assign or acknowledge it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from returns_service.domain.money import format_amount
from returns_service.domain.vocabulary import DeskAction, Scope
from returns_service.queries.desk_solved import returns_on_payment
from returns_service.return_case.rows import is_unapproved, open_amount
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund
from returns_service.web.operations.refunds import (
    acknowledge_refund,
    assign_refund,
    cancel_refund,
    check_refund,
    retry_refund,
    send_refund_again,
    settle_refund_outside,
)
from returns_service.web.operations.second_person import approve_refund
from returns_service.web.pages.forms import Act, Choices, FormAct, FormField, type_amount, wrong_field
from returns_service.web.pages.page import PageCall
from returns_service.web.pages.return_acts import (
    AMOUNT,
    CURRENCY,
    METHOD,
    MORE,
    NOTE,
    PART,
    RECORD_NOW,
    REFERENCE,
    REFUND_NOW,
    WHY,
    url_of,
)

_REFUND: Final = "/refunds/{refund_id:str}"


def _assign_body(call: PageCall) -> dict[str, Any]:
    if not call.field("return"):
        raise wrong_field("return", "Choose the return that it paid, or enter its id.")
    return {"return": call.field("return")}


async def _return_choices(call: PageCall, tx: Tx) -> Choices:
    refund = await tx.get(Refund, call.path("refund_id"))
    return {"return": await returns_on_payment(tx, refund.payment_id) if refund is not None else []}


CHECK: Final = FormAct("check", f"{_REFUND}/check", "Check with Stripe", check_refund, home="/refunds", only_looks=True)
RETRY_ONE: Final = FormAct(
    "retry_refund", f"{_REFUND}/retry", "Retry", retry_refund, (CURRENCY, AMOUNT, *PART, MORE), home="/refunds",
    names=REFUND_NOW,
)  # fmt: skip
SETTLE_ONE: Final = FormAct(
    "settle_refund", f"{_REFUND}/settle_outside", "Settle outside", settle_refund_outside,
    (CURRENCY, METHOD, REFERENCE, AMOUNT, *PART, NOTE), home="/refunds", names=RECORD_NOW,
)  # fmt: skip
SEND_AGAIN: Final = FormAct(
    "send_again", f"{_REFUND}/send_again", "Send again", send_refund_again, (WHY,), home="/refunds"
)
CANCEL_ONE: Final = FormAct(
    "cancel_refund", f"{_REFUND}/cancel", "Cancel the refund", cancel_refund, danger=True, home="/refunds"
)
ACKNOWLEDGE: Final = FormAct(
    "acknowledge_refund", f"{_REFUND}/acknowledge", "Acknowledge", acknowledge_refund,
    (FormField("reason", "What was it for, or what was agreed?", "area", "Kept in the history.", True,
               "Say what it was for, in a sentence."),),
    home="/refunds",
)  # fmt: skip
ASSIGN: Final = FormAct(
    "assign_refund", f"{_REFUND}/assign", "Assign to a return", assign_refund,
    (FormField("return", "Which return did it pay?", "choice", required=True),), build=_assign_body, home="/refunds",
    choices=_return_choices,
)  # fmt: skip
APPROVE_ONE: Final = FormAct(
    "approve_refund", f"{_REFUND}/approve", "Approve", approve_refund, (NOTE,), home="/approvals"
)
FORMS: Final[tuple[FormAct, ...]] = (
    CHECK, RETRY_ONE, SETTLE_ONE, SEND_AGAIN, CANCEL_ONE, ACKNOWLEDGE, ASSIGN, APPROVE_ONE,
)  # fmt: skip


def _act(form: FormAct, refund: Refund, question: str, text: str, button: str, **more: Any) -> Act:
    return Act(form, url_of(form, refund_id=refund.id), question, text, button, form.label, **more)


def check_act(refund: Refund) -> Act:
    """Return the look at Stripe: it changes nothing but what we know."""
    return _act(CHECK, refund, "", "", CHECK.label, direct=True)


def act_on_refund(
    action: DeskAction, refund: Refund, payment: Payment, *, left: int, returns: list[tuple[str, str]]
) -> Act | None:
    """Return one act about a refund, with its consequence. `left` of the payment, minor units; `returns` on it."""
    open_now = open_amount(refund) or refund.amount
    amount, target = format_amount(open_now, refund.currency), payment.method or "the payment"
    retry = min(open_now, max(0, left))
    typed = {"currency": refund.currency, "amount": type_amount(open_now, refund.currency)}
    offers: dict[DeskAction, Callable[[], Act]] = {
        "check": lambda: check_act(refund),
        "retry": lambda: _act(
            RETRY_ONE, refund, f"Refund {{}} to {target} again?",
            "A new refund takes the failed one’s place. This moves money and can’t be taken back.",
            REFUND_NOW, primary=True,
            values=typed | {"amount": type_amount(retry, refund.currency)},
        ),
        "settle_outside": lambda: _act(
            SETTLE_ONE, refund, "Record {} as paid another way?",
            "Stripe isn’t called: pay first, then record it here.", RECORD_NOW,
            values=typed | {"method": "bank_transfer"},
        ),
        "send_again": lambda: _act(
            SEND_AGAIN, refund, f"Send {amount} to {target} again?",
            "Only if Stripe’s support says that it was never made. It is looked for once more before it goes out.",
            f"Send {amount} again",
        ),
        "cancel": lambda: _act(
            CANCEL_ONE, refund, f"Cancel the refund of {amount}?", "It does not move. What is due stays due.",
            f"Cancel {amount}",
        ),
        "acknowledge": lambda: _act(
            ACKNOWLEDGE, refund, f"Acknowledge {amount} to {target}?",
            "No money moves. It leaves the desk, and what it held goes on.", f"Acknowledge {amount}",
        ),
        "assign": lambda: _act(
            ASSIGN, refund, f"Which return did {amount} pay?",
            "It counts as that return’s; what it held goes on. Assigning it again moves it.", f"Assign {amount}",
            primary=True, choices={"return": returns},
        ),
    }  # fmt: skip
    if action == "approve":
        return approve_act(refund, payment)
    if action == "assign" and not returns:
        return None
    return offers[action]() if action in offers else None


def approve_act(refund: Refund, payment: Payment) -> Act:
    """Return the second person's agreement to a refund."""
    amount, target = format_amount(refund.amount, refund.currency), payment.method or "the payment"
    return _act(
        APPROVE_ONE, refund, f"Refund {amount} to {target}?",
        "Another person decided it. Approved, it is sent at once; this moves money and can’t be taken back.",
        f"Approve {amount}", primary=True,
    )  # fmt: skip


def acts_on_refund(refund: Refund, payment: Payment, may: Callable[[Scope], bool], *, decided_it: bool) -> list[Act]:
    """Return what can be done about a refund that is on its way. `decided_it`: this person has, or may have."""
    acts: list[Act] = []
    if is_unapproved(refund) and not decided_it and may("returns:approve"):
        acts.append(approve_act(refund, payment))
    if not may("refunds:write"):
        return acts
    if refund.stripe_refund is not None or refund.status == "unknown":
        acts.append(check_act(refund))
    if refund.status in ("queued", "requires_action"):
        cancel = act_on_refund("cancel", refund, payment, left=0, returns=[])
        acts.extend([cancel] if cancel else [])
    return acts
