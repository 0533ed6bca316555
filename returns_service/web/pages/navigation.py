"""The places of the pages, and where each role begins. A place shows once its page is there and the role may see it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from returns_service.domain.roles import ADMIN, APPROVE, PAY, READ, RECEIVE, allows
from returns_service.domain.vocabulary import Role, Scope

HOME: Final = "/"


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation."""

    path: str
    icon: str
    label: str
    scope: Scope
    kind: str = "warn"  # how urgent what waits there is
    or_scope: Scope | None = None  # that opens it as well


PLACES: Final[Sequence[Place]] = (
    Place(HOME, "home", "Home", READ),
    Place("/approvals", "inbox", "Approvals", APPROVE),
    Place("/refunds", "desk", "Refund desk", PAY, "danger"),
    Place("/returns", "list", "Returns", READ),
    Place("/dashboard", "chart", "Dashboard", PAY, or_scope=APPROVE),
    Place("/receive", "scan", "Receive", RECEIVE),
    Place("/settings", "gear", "Settings", ADMIN),
    Place("/settings/health", "gear", "Health", ADMIN),
)
LANDING: Final[Mapping[Role, str]] = {
    "warehouse": "/receive",
    "approver": "/approvals",
    "finance": "/refunds",
    "admin": HOME,
}


def places_for(scopes: frozenset[Scope], paths: Collection[str]) -> list[Place]:
    """Return the places that somebody with these scopes may see, as far as their pages are among `paths`."""
    shown = [place for place in PLACES if place.path in paths and _may_see(scopes, place)]
    inside = {place.path for place in shown}
    return [place for place in shown if place.path.rpartition("/")[0] not in inside]


def _may_see(scopes: frozenset[Scope], place: Place) -> bool:
    return any(allows(scopes, scope) for scope in (place.scope, place.or_scope) if scope is not None)


def landing_of(role: Role, paths: Collection[str]) -> str:
    """Return where a person of this role begins: their own work, where its page is among `paths`."""
    return LANDING[role] if LANDING[role] in paths else HOME
