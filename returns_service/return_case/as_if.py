"""A return as if another policy had decided about it, from the request to the dock."""

from __future__ import annotations

from dataclasses import replace

from returns_service.domain.policy import Policy
from returns_service.return_case.case import ReturnCase
from returns_service.store.tables import ReceiptLine, ReturnLine


def copy_under_policy(case: ReturnCase, policy: Policy) -> ReturnCase:
    """Return a copy of the case that `policy` decides about, counts included; its rows are of no session."""
    rows = [ReceiptLine(**row.model_dump()) for row in case.receipt_lines]
    for row in rows:
        if row.accepted is not None:
            row.accepted = row.condition in policy.accepted_conditions
    copy = replace(
        case,
        policy_in_force=policy,
        lines=[ReturnLine(**line.model_dump()) for line in case.lines],
        receipt_lines=rows,
        payment_returns=[replace(other, policy_in_force=policy) for other in case.payment_returns],
        locked=None,
        _rows_by_line={},
        _rows_by_receipt={},
        _indexed=0,
    )
    for one in (copy, *copy.payment_returns):
        one.decide_by(policy)
    counts = copy.count_lines(copy.lines, copy.standing())
    for line in copy.lines if case.receipts else ():
        line.accepted, line.rejected, line.inspecting = (
            counts[line.id].accepted, counts[line.id].rejected, counts[line.id].inspecting,
        )  # fmt: skip
    return copy
