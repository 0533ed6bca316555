"""What people can do about a return: each act's form, offered with its consequence, or barred with its reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from returns_service.commands.returns import decision_on
from returns_service.domain.money import format_amount
from returns_service.domain.policy import Decision
from returns_service.domain.return_machine import PublicTrigger
from returns_service.domain.roles import allows, scopes_of
from returns_service.domain.vocabulary import ROLES, Resolution, Scope
from returns_service.queries.approvals import Waiting
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.overpaid import is_overpaid_for_sure
from returns_service.return_case.rows import open_amount
from returns_service.store.tables import Refund
from returns_service.web.operations.notes import create_note
from returns_service.web.operations.preconditions import etag
from returns_service.web.operations.resolutions import resolve_return
from returns_service.web.operations.return_refunds import refund_return, retry_return, settle_return_outside
from returns_service.web.operations.returns import (
    acknowledge_overpaid_return,
    approve_return,
    cancel_return,
    close_return,
    decline_return,
    reopen_return,
)
from returns_service.web.pages.forms import Act, FormAct, FormField, type_amount
from returns_service.web.pages.rendering import isolate
from returns_service.web.pages.stories import METHODS

WAYS: Final = tuple((method, words[0].upper() + words[1:]) for method, words in METHODS.items())
WHY: Final = FormField("reason", "Why?", "area", "Kept in the history.", True, "Say why, in a sentence.")
OVERRIDE: Final = FormField(
    "override_reason", "Why in spite of that?", "area", "Kept in the history, under your name.",
    missing="Say why, in a sentence.", only_if_required=True,
)  # fmt: skip
MORE: Final = FormField(
    "override_reason", "If it is more than is due: why?", "text", "Kept in the history, under your name.",
)  # fmt: skip
AMOUNT: Final = FormField(
    "amount", "Amount", "amount", "Leave it as it is for all of it.", True, "Enter the amount."
)  # fmt: skip
CURRENCY: Final = FormField("currency", kind="hidden")
SEEN: Final = FormField("if_match", kind="hidden")  # the version whose amount the person saw
REFUND: Final = FormField("refund", kind="hidden")
METHOD: Final = FormField("method", "Paid by", "choice", required=True, missing="Choose how it was paid.", choices=WAYS)
REFERENCE: Final = FormField(
    "reference", "Reference", "text", "The transfer’s or credit note’s number, so that it can be found again.",
    required=True, missing="Enter the reference, for example SEPA-2026-11-0071.",
)  # fmt: skip
NOTE: Final = FormField("note", "Note", "text", "For colleagues.")
WAIVE: Final = FormField(
    "waive", "If it is less: give the rest up", "flag", "Unless it is ticked, the rest stays open."
)
WHY_WAIVED: Final = FormField("reason", "Why is the rest given up?", "text", "Kept in the history, under your name.")
PART: Final = (WAIVE, WHY_WAIVED)
REFUND_NOW: Final = "Refund {}"
RECORD_NOW: Final = "Record {} as paid"
FOR_THE_CUSTOMER: Final = FormField(
    "reason", "Why?", "area", "Write it so that the customer can act on it: it is what they are told.", required=True,
    missing="Say why, in a sentence the customer can act on.",
    starters=(
        ("Window closed", "Our return window is over for this order."),
        ("Opened item", "Opened items of this kind can’t be resold, so we can’t take it back."),
    ),
)  # fmt: skip
WANTED: Final[Mapping[Resolution, str]] = {
    "refund": "A refund", "store_credit": "Store credit", "exchange": "An exchange",
}  # fmt: skip
_RETURN: Final = "/returns/{return_id:str}"


APPROVE: Final = FormAct(
    "approve", f"{_RETURN}/approve", "Approve", approve_return, (SEEN, OVERRIDE),
    ask_again=lambda case: approve_act(case, decision_on(case)),
)  # fmt: skip
DECLINE: Final = FormAct("decline", f"{_RETURN}/decline", "Decline", decline_return, (FOR_THE_CUSTOMER,), danger=True)
CANCEL: Final = FormAct("cancel", f"{_RETURN}/cancel", "Cancel", cancel_return, (WHY, OVERRIDE), danger=True)
CLOSE: Final = FormAct("close", f"{_RETURN}/close", "Close", close_return, (WHY, OVERRIDE))
REOPEN: Final = FormAct("reopen", f"{_RETURN}/reopen", "Reopen", reopen_return, (WHY,))
PAY: Final = FormAct(
    "refund", f"{_RETURN}/refund", "Refund", refund_return, (CURRENCY, AMOUNT, MORE, NOTE), names=REFUND_NOW
)
RETRY: Final = FormAct(
    "retry", f"{_RETURN}/retry", "Retry", retry_return, (CURRENCY, REFUND, AMOUNT, *PART, MORE), names=REFUND_NOW
)  # fmt: skip
SETTLE: Final = FormAct(
    "settle_outside", f"{_RETURN}/settle_outside", "Settle outside", settle_return_outside,
    (CURRENCY, REFUND, METHOD, REFERENCE, AMOUNT, *PART, NOTE), names=RECORD_NOW,
)  # fmt: skip
OVERPAID: Final = FormAct(
    "acknowledge_return", f"{_RETURN}/acknowledge", "Acknowledge", acknowledge_overpaid_return,
    (FormField("reason", "What was agreed?", "area", "Kept in the history.", True, "Say what was agreed."),),
)  # fmt: skip
WRITE_NOTE: Final = FormAct(
    "note", f"{_RETURN}/note", "Add", create_note,
    (FormField(
        "text", "Note for colleagues", "area", "Customers never see notes.", required=True,
        missing="Write what colleagues should know.",
    ),),
)  # fmt: skip
WANT: Final = FormAct(
    "resolution", f"{_RETURN}/resolution", "Refund or exchange", resolve_return,
    (FormField("resolution", "The customer wants", "choice", required=True, choices=tuple(WANTED.items())),),
)  # fmt: skip
FORMS: Final[tuple[FormAct, ...]] = (
    APPROVE, DECLINE, CANCEL, CLOSE, REOPEN, WANT, PAY, RETRY, SETTLE, OVERPAID, WRITE_NOTE,
)  # fmt: skip
_LABELS: Final[dict[PublicTrigger, tuple[str, Scope]]] = {
    "approve": ("Approve", "returns:approve"), "decline": ("Decline", "returns:approve"),
    "receive": ("Receive", "receipts:write"), "reverse": ("Take a receipt back", "receipts:write"),
    "inspect": ("Inspect", "receipts:write"), "correct": ("Correct a receipt", "receipts:write"),
    "resolution": ("Refund or exchange", "returns:write"),
    "refund": ("Refund", "refunds:write"), "retry": ("Retry", "refunds:write"),
    "settle_outside": ("Settle outside", "refunds:write"), "close": ("Close", "returns:write"),
    "cancel": ("Cancel", "returns:write"), "reopen": ("Reopen", "returns:approve"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Barred:
    """What can't be done now, and why."""

    label: str
    why: str


def acts_on(case: ReturnCase, able: Collection[PublicTrigger], may: Callable[[Scope], bool]) -> list[Act]:
    """Return what this person can do about a return now, of what would work (`able`), the likeliest first."""
    offers: list[tuple[PublicTrigger, Callable[[], Act]]] = [
        ("approve", lambda: approve_act(case, decision_on(case))), ("decline", lambda: decline_act(case)),
        ("retry", lambda: _retry(case)), ("refund", lambda: _pay(case)), ("settle_outside", lambda: _settle(case)),
        ("resolution", lambda: _want(case)), ("reopen", lambda: _reopen(case)),
        ("close", lambda: _close(case)), ("cancel", lambda: _cancel(case)),
    ]  # fmt: skip
    acts = [offer() for trigger, offer in offers if trigger in able and may(_LABELS[trigger][1])]
    is_told = case.row.overpaid_since is not None and case.overpaid_amount and is_overpaid_for_sure(case)
    if is_told and may("refunds:write"):
        acts.append(overpaid_act(case))
    return acts


def barred_on(
    able: Collection[PublicTrigger], barred: Mapping[PublicTrigger, str], may: Callable[[Scope], bool]
) -> list[Barred]:
    """Return what this person can't do about a return now: its guard's reason, or whose work it is."""
    mine = [Barred(_LABELS[trigger][0], why) for trigger, why in barred.items() if may(_LABELS[trigger][1])]
    others = [Barred(_LABELS[t][0], f"For {roles_with(_LABELS[t][1])}.") for t in able if not may(_LABELS[t][1])]
    return [*mine, *others]


def roles_with(scope: Scope) -> str:
    """Return which roles may do it, in words."""
    return " and ".join(role for role in ROLES if allows(scopes_of(role), scope))


def money_of(case: ReturnCase, amount: int) -> str:
    """Return an amount (minor units) of a return as people read it."""
    return format_amount(amount, case.row.currency)


def _order(case: ReturnCase) -> str:
    return isolate(case.row.order_id)


def target_of(case: ReturnCase) -> str:
    """Return where a refund goes, in words."""
    return case.payment.method or "the payment"


def url_of(form: FormAct, **names: str) -> str:
    """Return a form's address for one thing."""
    path = form.path
    for name, value in names.items():
        path = path.replace(f"{{{name}:str}}", value)
    return path


def _act(case: ReturnCase, form: FormAct, question: str, text: str, button: str, **more: Any) -> Act:
    label = more.pop("label", form.label)
    return Act(form, url_of(form, return_id=case.row.id), question, text, button, label, **more)


def approve_act(case: ReturnCase, decision: Decision, *, direct: bool = False) -> Act:
    """Return the approval of a request; against the policy it asks for a reason. `direct`: unless money moves by it."""
    amount, policy = money_of(case, case.estimate), case.policy_in_force
    says = " ".join(violation.message for violation in decision.violations)
    when = {
        "approval": f"{amount} goes to {target_of(case)} at once.",
        "receipt": "No money moves yet: it is refunded as its parcel is received.",
        "manual": "No money moves yet: finance refunds it.",
    }[policy.refund_on]
    second = " A second person has to agree." if decision.approvals_required > len(case.row.approvals) + 1 else ""
    warning = f" {decision.warning.message}" if decision.warning else ""
    return _act(
        case, APPROVE, f"Approve {_order(case)} for {amount}?", f"{says} {when}{second}{warning}".strip(),
        f"Approve {amount}", primary=not decision.violations,
        direct=direct and not decision.violations and policy.refund_on != "approval",
        required=frozenset({"override_reason"} if decision.violations else ()), keep="Keep waiting",
        values={"if_match": etag(case.row.version)},
    )  # fmt: skip


def decline_act(case: ReturnCase) -> Act:
    """Return the refusal of a request; the customer is told its reason."""
    amount = money_of(case, case.estimate)
    return _act(
        case, DECLINE, f"Decline {_order(case)}?", f"{amount} stays with the shop. It can be reopened.",
        f"Decline {_order(case)}", keep="Keep waiting",
    )  # fmt: skip


def approvals_of(waiting: Waiting, me: str) -> tuple[Act | None, Act | None, str]:
    """Return how one person can approve and decline a request, and what bars the approval."""
    able, barred = waiting.case.able_and_barred()
    decline = decline_act(waiting.case) if "decline" in able else None
    if waiting.approved_by(me):
        return None, decline, "You approved it already. Somebody else must agree."
    if "approve" not in able:
        return None, decline, barred.get("approve", "")
    return approve_act(waiting.case, waiting.decision, direct=True), decline, ""


def _cancel(case: ReturnCase) -> Act:
    received = case.facts().units_received
    text = "Units were received: say what becomes of them." if received else "No money has moved."
    return _act(
        case, CANCEL, f"Cancel {_order(case)}?", f"{text} It can be reopened.", f"Cancel {_order(case)}",
        required=frozenset({"override_reason"} if received else ()),
    )  # fmt: skip


def _close(case: ReturnCase) -> Act:
    waits = len(case.open_items())
    text = "The rest is not coming: nothing more is refunded for it. It can be reopened."
    if waits:
        text += f" {waits} undeclared items wait for a decision."
    return _act(
        case, CLOSE, f"Close {_order(case)}?", text, f"Close {_order(case)}",
        required=frozenset({"override_reason"} if waits else ()),
    )  # fmt: skip


def _reopen(case: ReturnCase) -> Act:
    asks = "It waits for a decision again." if case.row.state in ("declined", "canceled") else "Units may come again."
    return _act(case, REOPEN, f"Reopen {_order(case)}?", asks, f"Reopen {_order(case)}")


def _want(case: ReturnCase) -> Act:
    wanted = {line.resolution for line in case.lines}
    return _act(
        case, WANT, f"What does the customer of {_order(case)} want?",
        "It holds for all units that are not paid yet. Store credit and exchanges are never paid through Stripe: the "
        "desk asks to settle them outside.",
        "Save", values={"resolution": wanted.pop() if len(wanted) == 1 else ""},
    )  # fmt: skip


def _pay(case: ReturnCase) -> Act:
    amount = max(0, min(case.due, case.refundable))
    due = money_of(case, case.due)
    return _act(
        case, PAY, f"Refund {{}} to {target_of(case)}?",
        f"{due} is due for what was received. Less is a reduction, more needs a reason. This moves money and can’t be "
        "taken back.",
        REFUND_NOW, primary=True,
        values={"currency": case.row.currency, "amount": type_amount(amount, case.row.currency)},
    )  # fmt: skip


def failed_of(case: ReturnCase) -> Refund | None:
    """Return the failed refund that waits for a decision, the newest; None where none does."""
    failed = case.unresolved_refunds()
    return failed[-1] if failed else None


def _retry(case: ReturnCase) -> Act:
    failed = failed_of(case)
    amount = min(open_amount(failed), max(0, case.refundable)) if failed else 0
    values = {"currency": case.row.currency, "refund": failed.id if failed else ""}
    return _act(
        case, RETRY, f"Refund {{}} to {target_of(case)} again?",
        "A new refund takes the failed one’s place. This moves money and can’t be taken back.",
        REFUND_NOW, primary=True,
        values=values | {"amount": type_amount(amount, case.row.currency)},
    )  # fmt: skip


def _settle(case: ReturnCase) -> Act:
    failed = None if case.due_outside else failed_of(case)
    amount = open_amount(failed) if failed else case.due_outside or case.due
    method = next(iter(case.outside_lines.values()), "") if case.due_outside else "bank_transfer"
    values = {"currency": case.row.currency, "refund": failed.id if failed else "", "method": method}
    return _act(
        case, SETTLE, "Record {} as paid another way?",
        "Stripe isn’t called: pay first, then record it here.", RECORD_NOW, primary=bool(case.due_outside),
        values=values | {"amount": type_amount(amount, case.row.currency)},
    )  # fmt: skip


def overpaid_act(case: ReturnCase) -> Act:
    """Return what ends the question of money that a correction made worth less."""
    amount = money_of(case, case.overpaid_amount)
    return _act(
        case, OVERPAID, f"Leave {amount} with the customer?",
        "It was paid, and a correction made it worth less. No money moves; it leaves the desk.",
        f"Acknowledge {amount}",
    )  # fmt: skip


def choices_of_lines(case: ReturnCase) -> Sequence[tuple[str, str]]:
    """Return a return's lines to choose from."""
    return [(line.id, f"{line.title or line.sku} ({line.sku})"[:120]) for line in case.lines]
