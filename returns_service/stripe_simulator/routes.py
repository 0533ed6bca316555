"""The table of all endpoints."""

from __future__ import annotations

from .endpoints import account, charges, customers, disputes, payment_intents, refunds, webhook_endpoints
from .endpoints.route import Perform, Route

ROUTES = (
    *payment_intents.ROUTES,
    *charges.ROUTES,
    *refunds.ROUTES,
    *disputes.ROUTES,
    *customers.ROUTES,
    *account.ROUTES,
    *webhook_endpoints.ROUTES,
)
_TABLE = [(route, route.pattern) for route in ROUTES]


def find(method: str, path: str) -> tuple[Route, str] | None:
    """Return the endpoint at `path` and the id in it ('' if there is none)."""
    for route, pattern in _TABLE:
        if route.method == method:
            match = pattern.fullmatch(path)
            if match is not None:
                return route, match[1] if match.groups() else ""
    return None


__all__ = ["ROUTES", "Perform", "Route", "find"]
