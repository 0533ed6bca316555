"""API keys of the sandbox: which exist, and what a restricted key may do (docs.stripe.com/keys/restricted-api-keys)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from .refusals import account_error, authentication_error, permission_error

Status = Literal["active", "expired", "unknown"]
STATUSES: tuple[Status, ...] = get_args(Status)
_TEST_KEY = re.compile(r"(?:sk|rk)_test_\w{3,}")

# Kind of object -> resource of the permission, `rak_<resource>_read` or `_write`. Stripe has no permission for refunds:
# they belong to the charges (docs.stripe.com/stripe-apps/reference/permissions).
RESOURCES = {
    "account": "connected_account",
    "balance": "balance",
    "balance_transaction": "balance",
    "charge": "charge",
    "customer": "customer",
    "dispute": "dispute",
    "event": "event",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "refund": "charge",
    "webhook_endpoint": "webhook",
}
PERMISSIONS = tuple(sorted({f"rak_{name}_{way}" for name in RESOURCES.values() for way in ("read", "write")}))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The limits of one API key. `permissions`: `rak_…` names; None: all of them."""

    permissions: frozenset[str] | None = None
    status: Status = "active"

    def allows(self, permission: str) -> bool:
        """Return whether the key has `permission`. Write includes read."""
        names = (permission, re.sub("_read$", "_write", permission))
        return self.permissions is None or any(name in self.permissions for name in names)


def build_key(permissions: Iterable[str] | None = None, status: str = "active") -> ApiKey:
    """Return a key with these permissions. Raises ValueError for a name that is none of `PERMISSIONS`."""
    if not all(isinstance(name, str) for name in permissions or ()):
        raise ValueError("permissions are texts")
    names = None if permissions is None else frozenset(permissions)
    unknown = sorted(name for name in names or () if name not in PERMISSIONS)
    if unknown:
        raise ValueError(f"no permission {unknown[0]!r}; there are: {', '.join(PERMISSIONS)}")
    known = next((word for word in STATUSES if word == status), None)
    if known is None:
        raise ValueError(f"status is {status!r}, not active, expired or unknown")
    return ApiKey(names, known)


def authenticate(headers: Mapping[str, str], keys: Mapping[str, ApiKey], account: str) -> tuple[str, ApiKey]:
    """Return the secret of the request and its key. Refuses a wrong secret, and the account of somebody else."""
    secret = _read_secret(headers.get("authorization", ""))
    if not secret:
        raise authentication_error(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
        )
    key = keys.get(secret, ApiKey())
    if not _TEST_KEY.fullmatch(secret) or key.status == "unknown":
        raise authentication_error(f"Invalid API Key provided: {mask(secret)}")
    if key.status == "expired":
        raise authentication_error(f"Expired API Key provided: {mask(secret)}", "api_key_expired")
    if headers.get("stripe-account", account) != account:
        raise account_error(mask(secret), headers["stripe-account"])
    return secret, key


def check_permission(secret: str, key: ApiKey, account: str, method: str, kind: str) -> None:
    """Refuse a call whose key lacks the permission to read (`GET`) or write objects of `kind`."""
    permission = name_permission(method, kind)
    if not key.allows(permission):
        raise permission_error(mask(secret), account, permission)


def name_permission(method: str, kind: str) -> str:
    """Return the permission that a call of `method` to objects of `kind` needs."""
    return f"rak_{RESOURCES[kind]}_{'read' if method == 'GET' else 'write'}"


def mask(secret: str) -> str:
    """Return a secret as Stripe repeats it in messages: its kind and its last four characters."""
    return f"{secret[:8]}{'*' * 8}{secret[-4:] if len(secret) > 16 else ''}"


def _read_secret(header: str) -> str:
    """Return the secret in an `Authorization` header, Bearer or Basic; '' if there is none."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""
