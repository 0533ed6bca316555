"""Keep the rules of each policy that was in force."""

from __future__ import annotations

from returns_service.domain.policy import Policy, to_dict, version_of
from returns_service.store.database import Tx, insert_ignore
from returns_service.store.tables import PolicyVersion


async def keep_policy_version(tx: Tx, policy: Policy) -> str:
    """Keep a policy in force as a version, unless one with the same rules is kept; return the version's name."""
    rules = to_dict(policy)
    name = version_of(rules)
    await insert_ignore(tx, PolicyVersion, {"id": name, "policy": rules, "first_in_force_at": tx.now})
    return name
