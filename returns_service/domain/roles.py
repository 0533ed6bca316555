"""Who works here, and what each role may do: a role is a set of the API's scopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Role = Literal["warehouse", "approver", "finance", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
Way = Literal["password", "link", "badge", "pin"]  # of signing in
WAYS: Final[tuple[Way, ...]] = get_args(Way)
READ: Final = "returns:read"
RECEIVE: Final = "receipts:write"
ADMIN: Final = "admin"

_OWN: Final[Mapping[Role, frozenset[str]]] = {
    "warehouse": frozenset({RECEIVE}),
    "approver": frozenset({"returns:approve", "returns:write"}),
    "finance": frozenset({"refunds:write"}),
    "admin": frozenset({ADMIN}),
}
SCOPES_OF_ROLE: Final[Mapping[Role, frozenset[str]]] = {role: own | {READ} for role, own in _OWN.items()}
# A badge or a PIN is short and is used in public: it opens the dock, never the money.
RECEIVING: Final = frozenset({READ, RECEIVE})


def scopes_of(role: Role, *, receiving_only: bool = False) -> frozenset[str]:
    """Return what a person of this role may do; `receiving_only`: after a sign-in by badge or PIN."""
    scopes = SCOPES_OF_ROLE[role]
    if not receiving_only:
        return scopes
    return RECEIVING if ADMIN in scopes else scopes & RECEIVING


def allows(scopes: frozenset[str], scope: str) -> bool:
    """Return whether one of `scopes` is `scope`, or is all of them."""
    return scope in scopes or ADMIN in scopes
