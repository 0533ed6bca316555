"""The dock: counts, miscounts, inspections, and units that nobody announced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from returns_service.commands import corrections, receipts
from returns_service.commands.corrections import Correction
from returns_service.commands.counting import Count, CountResult, Undeclared, receipt_of
from returns_service.commands.receipts import InspectionFinding
from returns_service.domain.vocabulary import Condition, Disposition, FinalDisposition, UndeclaredDecision
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_case
from returns_service.return_case.views import ReceiptView, ReturnView, show_receipt
from returns_service.store.database import Tx
from returns_service.store.tables import Receipt
from returns_service.web.operations.bodies import MOST_LINES, Body, Id, LineId, Scan, Units, Words, Wrong
from returns_service.web.operations.operation import (
    KEY_REQUIRED,
    Empty,
    KeyRule,
    Operation,
    OperationCall,
    Reply,
    reads,
    writes,
)
from returns_service.web.operations.parameters import CREATED
from returns_service.web.operations.query_string import ListView, show_list
from returns_service.web.operations.returns import WithReason, reply_with

TAG = "Receipts"


class CountedLine(Body):
    """Units in one condition, by line id or by SKU."""

    line: LineId | None = None
    sku: Scan | None = None
    quantity: Units
    condition: Condition
    disposition: Disposition | None = None

    def count(self) -> Count:
        """Return it as the command takes it."""
        return Count(**self.model_dump())


class UndeclaredUnits(Body):
    """Units that nobody announced."""

    sku: Scan
    quantity: Units
    note: Words | None = None


class CreateReceipt(Body):
    """One count at the dock. The same `scan_id` again answers the same receipt."""

    lines: list[CountedLine] = Field(default_factory=list, max_length=MOST_LINES)
    undeclared: list[UndeclaredUnits] = Field(default_factory=list, max_length=MOST_LINES)
    scan_id: Id | None = None

    @classmethod
    def also_wrong(cls, found: Mapping[str, Any]) -> list[Wrong]:
        """An empty count counts nothing; a counted line has to be named."""
        lines = found.get("lines")
        if not lines and not found.get("undeclared"):
            return [Wrong("lines", "missing", "Count something: lines or undeclared")]
        return [
            Wrong(f"lines[{number}].line", "missing", "Name the line: line or sku")
            for number, line in enumerate(lines if isinstance(lines, list) else [])
            if isinstance(line, dict) and line.get("line") is None and line.get("sku") is None
        ]


class Finding(Body):
    """What an inspection found about units of one line. No `quantity`: all that wait in this receipt."""

    line: LineId
    condition: Condition
    disposition: FinalDisposition
    quantity: Units | None = None


class InspectReceipt(Body):
    """What an inspection found."""

    lines: list[Finding] = Field(min_length=1, max_length=MOST_LINES)


class CorrectedUnits(Body):
    """Units of a line that were counted in the wrong condition."""

    line: LineId
    from_: Condition = Field(alias="from")
    to: Condition
    quantity: Units

    def correction(self) -> Correction:
        """Return it as the command takes it."""
        return Correction(self.line, self.from_, self.to, self.quantity)


class CorrectReceipt(WithReason):
    """What a receipt counted in the wrong condition, line by line."""

    lines: list[CorrectedUnits] = Field(min_length=1, max_length=MOST_LINES)

    @classmethod
    def also_wrong(cls, found: Mapping[str, Any]) -> list[Wrong]:
        """A correction changes something."""
        lines = found.get("lines")
        return [
            Wrong(f"lines[{number}].to", "invalid", "Must be another condition than from")
            for number, line in enumerate(lines if isinstance(lines, list) else [])
            if isinstance(line, dict) and isinstance(line.get("to"), str) and line.get("to") == line.get("from")
        ]


class ResolveUndeclared(Body):
    """What happens to units that nobody announced; accepted as a line, they count as `condition`, else as new."""

    decision: UndeclaredDecision
    line: LineId | None = None
    condition: Condition = "new"


def reply_with_receipt(counted: CountResult) -> Reply:
    """Answer with the receipt; where it is."""
    where = f"/v1/returns/{counted.receipt.return_id}/receipts/{counted.receipt.id}"
    return Reply(counted.show(), {"Location": where, **({"Idempotent-Replayed": "true"} if counted.known else {})})


def show_case_receipt(case: ReturnCase, receipt: Receipt) -> ReceiptView:
    """Return one receipt of a case as it is answered."""
    return show_receipt(receipt, case.receipt_lines, case.undeclared)


# A `scan_id` makes a count safe to repeat by itself.
KEY_UNLESS_SCANNED = KeyRule(lambda body: body.scan_id is None, note=" Not needed with a `scan_id`.")
# All units that wait can be decided once; of a number of them a repeated request would decide as many more.
KEY_FOR_A_NUMBER = KeyRule(
    lambda body: any(finding.quantity is not None for finding in body.lines), note=" Needed with a `quantity`."
)


async def is_counted(call: OperationCall[CreateReceipt], tx: Tx) -> bool:
    """Return whether this scan was counted before."""
    return await receipts.is_scanned(tx, call.id("return_id"), call.body.scan_id)


@writes(
    "/v1/returns/{return_id}/receipts", TAG, ReceiptView,
    if_match=True, scope="receipts:write", body=CreateReceipt, status=201, headers=("Location",),
    key_rule=KEY_UNLESS_SCANNED, is_done=is_counted,
    example={"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "opened"}], "scan_id": "dock-2-000417"},
    errors=("not_found", "unknown_line", "scan_id_reused"),
)  # fmt: skip
async def create_receipt(call: OperationCall[CreateReceipt], tx: Tx) -> Reply:
    """Count what arrived at the dock.

    The amount due for it is refunded at once, unless the policy leaves that to people. A surplus unit or an unknown
    SKU is never refused: it becomes an undeclared item. Of a return that is requested, declined, canceled or closed,
    units are counted and nothing is paid: the desk says what to do. An `sku` may be what a scanner reads, a barcode of
    the line included. Needs an Idempotency-Key or a `scan_id`.
    """
    counts = [line.count() for line in call.body.lines]
    extra = [Undeclared(**item.model_dump()) for item in call.body.undeclared]
    return reply_with_receipt(
        await receipts.receive(tx, call.by, call.policy, call.id("return_id"), counts, extra, call.body.scan_id)
    )


@reads(
    "/v1/returns/{return_id}/receipts",
    TAG,
    ListView[ReceiptView],
    paged=True,
    parameters=CREATED,
    errors=("not_found",),
)
async def list_receipts(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List a return's receipts, newest first."""
    case = await load_case(tx, call.policy, call.id("return_id"))
    receipts_asked = [receipt for receipt in case.receipts if call.query.holds(created=receipt.created_at)]
    found, has_more = call.query.page_of(receipts_asked, "rcp")
    url = f"/v1/returns/{case.row.id}/receipts"
    return Reply(show_list(url, found, has_more, lambda receipt: show_case_receipt(case, receipt)))


@reads("/v1/returns/{return_id}/receipts/{receipt_id}", TAG, ReceiptView, errors=("not_found",))
async def read_receipt(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a receipt."""
    case = await load_case(tx, call.policy, call.id("return_id"))
    return Reply(show_case_receipt(case, receipt_of(case, call.id("receipt_id"))))


@writes(
    "/v1/returns/{return_id}/receipts/{receipt_id}/reverse", TAG, ReceiptView,
    if_match=True, scope="receipts:write", body=WithReason, example={"reason": "Counted the wrong parcel."},
    errors=("not_found", "invalid_transition", "already_refunded", "receipt_reversed"),
)  # fmt: skip
async def reverse_receipt(call: OperationCall[WithReason], tx: Tx) -> Reply:
    """Undo a miscount.

    A refund of it that was not sent yet is withdrawn; a refund that was sent bars the reversal.
    """
    return_id, receipt_id = call.id("return_id"), call.id("receipt_id")
    return Reply((await corrections.reverse(tx, call.by, call.policy, return_id, receipt_id, call.body.reason)).show())


@writes(
    "/v1/returns/{return_id}/receipts/{receipt_id}/correct", TAG, ReceiptView,
    if_match=True, scope="receipts:write", body=CorrectReceipt, key_rule=KEY_REQUIRED,
    example={
        "lines": [{"line": "rli_01h455vb4pex5vsknk084sn02q", "from": "missing", "to": "new", "quantity": 1}],
        "reason": "It was under the packing paper.",
    },
    errors=(
        "not_found", "invalid_transition", "receipt_reversed", "unknown_line", "units_not_counted",
        "refund_in_progress", "nothing_received",
    ),
)  # fmt: skip
async def correct_receipt(call: OperationCall[CorrectReceipt], tx: Tx) -> Reply:
    """Correct the condition of counted units.

    A refund of the unpaid rest follows. Money paid for units that are worth less now stays with the customer, told as
    `overpaid_amount`, the desk as `return_overpaid`. A refund of these lines that is on its way bars the correction.
    """
    lines = [line.correction() for line in call.body.lines]
    return_id, receipt_id = call.id("return_id"), call.id("receipt_id")
    done = await corrections.correct(tx, call.by, call.policy, return_id, receipt_id, lines, call.body.reason)
    return Reply(done.show())


@writes(
    "/v1/returns/{return_id}/receipts/{receipt_id}/inspect", TAG, ReceiptView,
    if_match=True, scope="receipts:write", body=InspectReceipt, key_rule=KEY_FOR_A_NUMBER,
    example={"lines": [{"line": "rli_01h455vb4pex5vsknk084sn02q", "condition": "new", "disposition": "restock"}]},
    errors=("not_found", "invalid_transition", "receipt_reversed", "nothing_to_inspect", "unknown_line"),
)  # fmt: skip
async def inspect_receipt(call: OperationCall[InspectReceipt], tx: Tx) -> Reply:
    """Say what the inspection of set-aside units found.

    A finding without `quantity` is about all units of its line that wait in this receipt. One with a `quantity` needs
    an Idempotency-Key: sent twice, it would decide, and pay, as many units more.
    """
    found = [InspectionFinding(**finding.model_dump()) for finding in call.body.lines]
    return Reply(
        (await receipts.inspect(tx, call.by, call.policy, call.id("return_id"), call.id("receipt_id"), found)).show()
    )


@writes(
    "/v1/returns/{return_id}/undeclared/{undeclared_id}/resolve", TAG, ReturnView,
    if_match=True, scope="receipts:write", headers=("ETag",), body=ResolveUndeclared, receipts_only=ReceiptView,
    example={"decision": "return_to_customer"},
    errors=(
        "not_found", "invalid_transition", "undeclared_resolved", "receipt_reversed", "unknown_line", "line_required",
        "line_complete",
    ),
)  # fmt: skip
async def resolve_undeclared(call: OperationCall[ResolveUndeclared], tx: Tx) -> Reply:
    """Decide what happens to units that nobody announced.

    The answer is the return; to a key that may not read returns, the receipt that the units came with.
    """
    body, item_id = call.body, call.id("undeclared_id")
    case = await receipts.resolve(tx, call.by, call.policy, call.id("return_id"), item_id,
        decision=body.decision, line_id=body.line, condition=body.condition,
    )  # fmt: skip
    whole = reply_with(case)
    if call.may("returns:read"):
        return whole
    receipt_id = next(item.receipt_id for item in case.undeclared if item.id == item_id)
    return Reply(show_case_receipt(case, receipt_of(case, receipt_id)), whole.headers)


OPERATIONS: tuple[Operation, ...] = (
    create_receipt, list_receipts, read_receipt, reverse_receipt, correct_receipt, inspect_receipt,
    resolve_undeclared,
)  # fmt: skip
