"""Factories of comparisons with Stripe's ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import ReconciliationDifference, ReconciliationRun
from tests.factories.insert import insert


async def create_reconciliation_run(tx: Tx, **values: Any) -> ReconciliationRun:
    """Insert a run over the last 30 days that has just begun and repairs nothing."""
    defaults = {
        "id": tx.new_id("rec"),
        "since": tx.now - timedelta(days=30),
        "fix": False,
        "started_by": "key_test",
        "created_at": tx.now,
    }
    return await insert(tx, ReconciliationRun, defaults, values)


async def create_reconciliation_difference(
    tx: Tx, run: ReconciliationRun | None = None, **values: Any
) -> ReconciliationDifference:
    """Insert a refund of Stripe's that is missing here."""
    run = run or await create_reconciliation_run(tx)
    number = tx.new_id("x")[2:]
    defaults = {
        "id": tx.new_id("dif"),
        "run_id": run.id,
        "code": "missing_here",
        "subject": f"re_{number}",
        "differs": True,
        "outcome": "found",
        "cause": "Made outside.",
        "stripe_refund": f"re_{number}",
        "created_at": tx.now,
    }
    return await insert(tx, ReconciliationDifference, defaults, values)
