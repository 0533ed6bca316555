"""What the dock can do about what it counted: take it back, correct it, inspect it, decide about surplus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from returns_service.domain.counts import PLACEHOLDERS
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_case
from returns_service.return_case.reversal import reversible
from returns_service.return_case.rows import counted_units, units_to_inspect
from returns_service.store.database import Tx
from returns_service.store.tables import Receipt, ReceiptLine, UndeclaredItem
from returns_service.web.operations.receipts import (
    correct_receipt,
    inspect_receipt,
    resolve_undeclared,
    reverse_receipt,
)
from returns_service.web.operations.unmatched_receipts import attach_receipt
from returns_service.web.pages.forms import Act, Choices, FormAct, FormField, parse_units, wrong_field
from returns_service.web.pages.page import PageCall
from returns_service.web.pages.rendering import isolate, plural
from returns_service.web.pages.return_acts import WHY, choices_of_lines, url_of
from returns_service.web.pages.stories import CONDITIONS

_RECEIPT: Final = "/returns/{return_id:str}/receipts/{receipt_id:str}"
TO_CONDITION: Final = tuple((condition, words.capitalize()) for condition, words in CONDITIONS.items())
FOUND: Final = tuple(choice for choice in TO_CONDITION if choice[0] not in PLACEHOLDERS)
DISPOSITIONS: Final = (("restock", "Restock"), ("scrap", "Scrap"), ("return_to_customer", "Back to the customer"))
DECISIONS: Final = (
    ("return_to_customer", "Back to the customer"), ("scrap", "Scrap"), ("accept_as_line", "Count it on this return"),
)  # fmt: skip
UNITS: Final = FormField("quantity", "Units", "number", required=True, missing="Say how many units.")


def _correct_body(call: PageCall) -> dict[str, Any]:
    line, _, condition = call.field("which").partition("|")
    units = parse_units(call.field("quantity"), "quantity")
    if not call.field("reason"):
        raise wrong_field("reason", WHY.missing)
    changed = {"line": line, "from": condition, "to": call.field("to"), "quantity": units}
    return {"lines": [changed], "reason": call.field("reason")}


def _inspect_body(call: PageCall) -> dict[str, Any]:
    finding = {
        "line": call.field("which"), "condition": call.field("condition"), "disposition": call.field("disposition"),
        "quantity": parse_units(call.field("quantity"), "quantity"),
    }  # fmt: skip
    return {"lines": [finding]}


def _resolve_body(call: PageCall) -> dict[str, Any]:
    decision = call.field("decision")
    counts = decision == "accept_as_line"
    return {"decision": decision} | (
        {"line": call.field("line"), "condition": call.field("condition")} if counts else {}
    )


def _attach_body(call: PageCall) -> dict[str, Any]:
    if not call.field("return"):
        raise wrong_field("return", "Enter the return’s id, for example ret_01k9x7d3m8f2aw01k9x7d3m8f2.")
    return {"return": call.field("return")}


async def _counted_choices(call: PageCall, tx: Tx) -> Choices:
    return {"which": [_counted_as(row) for row in _lines_of(await _case(call, tx), call.path("receipt_id"))]}


async def _waiting_choices(call: PageCall, tx: Tx) -> Choices:
    lines = _lines_of(await _case(call, tx), call.path("receipt_id"))
    return {"which": [_waits_as(row) for row in lines if units_to_inspect(row)]}


async def _line_choices(call: PageCall, tx: Tx) -> Choices:
    return {"line": choices_of_lines(await _case(call, tx))}


async def _case(call: PageCall, tx: Tx) -> ReturnCase:
    return await load_case(tx, call.context.policy, call.path("return_id"))


def _lines_of(case: ReturnCase, receipt_id: str) -> list[ReceiptLine]:
    return [row for row in case.receipt_lines if row.receipt_id == receipt_id]


REVERSE: Final = FormAct("reverse", f"{_RECEIPT}/take_back", "Take it back", reverse_receipt, (WHY,))
CORRECT: Final = FormAct(
    "correct", f"{_RECEIPT}/correct", "Correct", correct_receipt,
    (FormField("which", "What was counted", "choice"), FormField("to", "It is", "choice", choices=TO_CONDITION),
     UNITS, WHY),
    build=_correct_body, choices=_counted_choices,
)  # fmt: skip
INSPECT: Final = FormAct(
    "inspect", f"{_RECEIPT}/inspect", "Inspect", inspect_receipt,
    (FormField("which", "What was inspected", "choice"), UNITS,
     FormField("condition", "It is", "choice", choices=FOUND),
     FormField("disposition", "It goes to", "choice", choices=DISPOSITIONS)),
    build=_inspect_body, choices=_waiting_choices,
)  # fmt: skip
RESOLVE: Final = FormAct(
    "resolve", "/returns/{return_id:str}/undeclared/{undeclared_id:str}/resolve", "Decide", resolve_undeclared,
    (FormField("decision", "What happens to it", "choice", choices=DECISIONS),
     FormField("line", "If it is counted: as which item", "choice"),
     FormField("condition", "If it is counted: in which condition", "choice", choices=FOUND)),
    build=_resolve_body, choices=_line_choices,
)  # fmt: skip
ATTACH: Final = FormAct(
    "attach", "/parcels/{unmatched_id:str}/attach", "Attach", attach_receipt,
    (FormField("return", "Which return", "text", "Its id, as its page shows it.", True),), build=_attach_body,
    home="/receive",
)  # fmt: skip
FORMS: Final[tuple[FormAct, ...]] = (REVERSE, CORRECT, INSPECT, RESOLVE, ATTACH)


def acts_on_receipt(case: ReturnCase, receipt: Receipt) -> list[Act]:
    """Return what can be done about one standing receipt."""
    acts: list[Act] = []
    if receipt.reversed_at is not None:
        return acts
    lines = _lines_of(case, receipt.id)
    able, names = case.available(), {"return_id": case.row.id, "receipt_id": receipt.id}
    waiting = [row for row in lines if units_to_inspect(row)]
    if waiting and "inspect" in able:
        choices = [_waits_as(row) for row in waiting]
        question, text = "What did the inspection find?", "It is paid for as the policy says."
        units = {"quantity": str(units_to_inspect(waiting[0]))}
        acts.append(_act(INSPECT, names, question, text, "Record it", choices={"which": choices}, values=units))
    if lines and "correct" in able and any(counted_units(line) for line in case.lines):
        question, text = "Correct what was counted?", "What is unpaid follows; what was paid stays."
        units, rows = {"quantity": str(lines[0].quantity)}, {"which": [_counted_as(row) for row in lines]}
        acts.append(_act(CORRECT, names, question, text, "Correct it", choices=rows, values=units))
    if any(one is receipt for one in reversible(case)) and "reverse" in able:
        question = f"Take the receipt of {plural(sum(row.quantity for row in lines), 'unit')} back?"
        text = "Its units are expected again. A refund that was not sent is withdrawn."
        acts.append(_act(REVERSE, names, question, text, "Take it back"))
    return acts


def _waits_as(row: ReceiptLine) -> tuple[str, str]:
    return row.line_id, f"{units_to_inspect(row)} × {isolate(row.sku)}"


def _counted_as(row: ReceiptLine) -> tuple[str, str]:
    return f"{row.line_id}|{row.condition}", f"{row.quantity} × {isolate(row.sku)}, {CONDITIONS[row.condition]}"


def _act(form: FormAct, names: dict[str, str], question: str, text: str, button: str, **more: Any) -> Act:
    return Act(form, url_of(form, **names), question, text, button, form.label, **more)


def resolve_act(case: ReturnCase, item: UndeclaredItem) -> Act:
    """Return the decision about units that nobody announced."""
    names = {"return_id": case.row.id, "undeclared_id": item.id}
    lines: Sequence[tuple[str, str]] = choices_of_lines(case)
    values = {"line": item.surplus_of or "", "condition": "new"}
    return _act(RESOLVE, names, f"What happens to {item.quantity} × {isolate(item.sku[:60])}?",
                "Nobody announced it. Counted on this return, it is paid for as far as its item has a place.",
                "Decide", choices={"line": lines}, values=values)  # fmt: skip
