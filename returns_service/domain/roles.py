"""The roles of the staff: each is a set of the API's scopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from returns_service.domain.vocabulary import Role, Scope

READ: Final[Scope] = "returns:read"
RECEIVE: Final[Scope] = "receipts:write"
APPROVE: Final[Scope] = "returns:approve"
PAY: Final[Scope] = "refunds:write"
ADMIN: Final[Scope] = "admin"

_OWN: Final[Mapping[Role, frozenset[Scope]]] = {
    "warehouse": frozenset({RECEIVE}),
    "approver": frozenset({APPROVE, "returns:write"}),
    "finance": frozenset({PAY}),
    "admin": frozenset({ADMIN}),
}
SCOPES_OF_ROLE: Final[Mapping[Role, frozenset[Scope]]] = {role: own | {READ} for role, own in _OWN.items()}
# A badge or a PIN is short and is used in public: it opens the dock, never the money.
RECEIVING: Final = frozenset({READ, RECEIVE})


def scopes_of(role: Role, *, receiving_only: bool = False) -> frozenset[Scope]:
    """Return what a person of this role may do; `receiving_only`: after a sign-in by badge or PIN."""
    scopes = SCOPES_OF_ROLE[role]
    if not receiving_only:
        return scopes
    return RECEIVING if ADMIN in scopes else scopes & RECEIVING


def allows(scopes: frozenset[Scope], scope: Scope) -> bool:
    """Return whether one of `scopes` is `scope`, or is all of them."""
    return scope in scopes or ADMIN in scopes
