"""The factory of versions of the policy."""

from __future__ import annotations

from typing import Any

from returns_service.domain.policy import DEFAULT, to_dict, version_of
from returns_service.store.database import Tx
from returns_service.store.tables import PolicyVersion
from tests.factories.insert import insert


async def create_policy_version(tx: Tx, **values: Any) -> PolicyVersion:
    """Insert the default policy."""
    rules = values.get("policy", to_dict(DEFAULT))
    return await insert(
        tx, PolicyVersion, {"id": version_of(rules), "policy": rules, "first_in_force_at": tx.now}, values
    )
