"""The policies that were in force, oldest first, and what each changed."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from returns_service.return_case.views import rfc3339
from returns_service.store.database import Tx
from returns_service.store.tables import PolicyVersion


async def policy_versions(tx: Tx) -> list[dict[str, Any]]:
    """Return every version: since when, its rules, and which settings the version before it had otherwise."""
    chosen = select(PolicyVersion).order_by(col(PolicyVersion.first_in_force_at), col(PolicyVersion.id))
    shown: list[dict[str, Any]] = []
    for row in (await tx.exec(chosen)).all():
        before = shown[-1]["policy"] if shown else row.policy
        changed = [name for name in sorted(row.policy) if row.policy[name] != before.get(name)]
        first = rfc3339(row.first_in_force_at)
        shown.append({"id": row.id, "first_in_force": first, "changed": changed, "policy": row.policy})
    return shown
