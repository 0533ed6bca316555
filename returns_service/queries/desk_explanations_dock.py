"""What the desk says about the dock's things: parcels, units nobody announced, corrections of what was paid."""

from __future__ import annotations

from returns_service.domain.money import format_amount
from returns_service.domain.return_machine import DORMANT
from returns_service.queries.desk import DeskEntry
from returns_service.queries.desk_explanation import Explanation
from returns_service.queries.system_health import SystemHealth
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.overpaid import is_overpaid_for_sure
from returns_service.store.database import Tx

MOST_ITEMS_NAMED = 5


def describe_to_decide(case: ReturnCase) -> Explanation:
    """Return what a person can decide about units that came."""
    ended = case.row.closed_at is not None and case.row.state != "approved"
    if case.row.state in DORMANT or ended:
        return describe_unexpected(case)
    due, can = case.due, case.available()
    if due > 0:
        return Explanation(
            "refund_on_manual",
            f"{due} {case.row.currency} (minor units) are due for what came, and the policy leaves refunds to people.",
            "Refund it, or less with a reason; or settle it outside.",
            [action for action in can if action in ("refund", "settle_outside")],
            {"amount": due},
        )
    if case.units_expected:  # of a manual policy: what came counts as news, and it is worth nothing by itself
        return Explanation(
            "nothing_due_so_far",
            "Units were received, and nothing is due for them so far; more are expected.",
            "Wait for the rest. Close it only if the rest is not coming.",
            [action for action in can if action == "close"],
            {"amount": 0},
        )
    return Explanation(
        "nothing_due",
        "Units were received, nothing is due for them, and nothing more will happen by itself.",
        "Tell the customer why, then close it; or refund goodwill.",
        [action for action in can if action == "close"],
        {"amount": 0},
    )


def describe_unexpected(case: ReturnCase) -> Explanation:
    """Return what to do with a parcel that came before the decision, or after the end."""
    if case.row.state == "requested":
        return Explanation(
            "units_before_decision",
            "Units of this return are at the dock, and nobody has decided about it. Nothing is paid for them so far.",
            "Approve it, and they are paid as counted; or decline it, and send them back.",
            [action for action in case.available() if action in ("approve", "decline")],
        )
    state = case.row.state if case.row.state in DORMANT else "closed"
    return Explanation(
        f"units_after_{state}",
        f"Units of this return are at the dock, and it is {state}. They are counted, and nothing is paid for them.",
        "Reopen the return to pay for them; or send them back, and reverse the receipt with that reason.",
        [action for action in case.available() if action == "reopen"],
    )


def describe_overpaid(case: ReturnCase) -> Explanation:
    """Return what to do with money that was paid beyond what a return is worth."""
    amount = case.overpaid_amount
    if not is_overpaid_for_sure(case):
        return Explanation(
            "overpaid_in_doubt",
            f"{format_amount(amount, case.row.currency)} may have been paid beyond what the return is worth: a refund "
            "of it has no answer yet.",
            "Wait for that answer: the refund is looked for by itself. Then this leaves the desk, or says what was "
            "paid.",
            facts={"amount": amount},
        )
    return Explanation(
        "overpaid",
        f"{format_amount(amount, case.row.currency)} were paid beyond what the return is worth: a correction made its "
        "units worth less, or a refund made outside paid more. The money stays with the customer: nothing is taken "
        "back by itself.",
        "Settle it with the customer, then acknowledge it with what was agreed; or correct the receipt again.",
        ["acknowledge"],
        {"amount": amount},
    )


def describe_wanted(case: ReturnCase) -> str:
    """Return what the customer wants for the units that they want no refund for."""
    named = {"store_credit": "store credit", "exchange": "an exchange"}
    return " and ".join(sorted({named[word] for word in case.outside_lines.values()})) or "something else"


def describe_resolution_due(case: ReturnCase) -> Explanation:
    """Return what to do for units that the customer wants no refund for."""
    amount, can = case.due_outside, case.available()
    more = f" {format_amount(case.due, case.row.currency)} are due as refund besides." if case.due else ""
    return Explanation(
        "resolution_due",
        f"{format_amount(amount, case.row.currency)} are due for units that came, and the customer wants "
        f"{describe_wanted(case)} for them. Nothing of it is paid through Stripe.{more}",
        "Give it to the customer, then settle it outside with method and reference. An exchange for less leaves the "
        "rest due as refund.",
        [action for action in can if action in ("settle_outside", "refund")],
        {"amount": amount},
    )


def describe_undeclared(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    """Return what to do with units that nobody announced."""
    item = entry.undeclared
    if item is None:
        raise LookupError(f"{entry.id} is an undeclared item and came without it")
    return Explanation(
        "surplus" if item.surplus_of else "undeclared",
        f"{item.quantity} × {item.sku} came that nobody announced.",
        f"Decide what happens to it: POST to /v1/returns/{item.return_id}/undeclared/{item.id}/resolve.",
    )


def describe_unmatched(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    """Return what to do with a parcel that no return announced."""
    row = entry.unmatched
    if row is None:
        raise LookupError(f"{entry.id} is an unmatched receipt and came without it")
    items = ", ".join(f"{item['quantity']} × {item['sku']}" for item in row.items[:MOST_ITEMS_NAMED])
    more = ", …" if len(row.items) > MOST_ITEMS_NAMED else ""
    return Explanation(
        "unmatched",
        f"A parcel without any authorization came: {items}{more}.",
        f"Find its return, or make one; then POST to /v1/receipts/{row.id}/attach.",
        facts={"order_id": row.order_id},
    )
