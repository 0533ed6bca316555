"""Stripe's error answers: status, type, code, parameter and message (docs.stripe.com/api/errors)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .collection import Json

DOC_URL = "https://stripe.com/docs/error-codes/"


@dataclass(eq=False)
class Refusal(Exception):
    """An error answer. `stored`: execution had begun, so the idempotency key stores this answer."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    type: str = "invalid_request_error"
    stored: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"

    def body(self, request_id: str) -> Json:
        """Return Stripe's error envelope; a field that does not apply is absent."""
        error: Json = dict(self.more)
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = DOC_URL + self.code.replace("_", "-")
        error["message"] = self.message
        if self.param is not None:
            error["param"] = self.param
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        error["type"] = self.type
        return {"error": error}


def param_error(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """400: a parameter fails validation. Execution had not begun, so no key stores the answer."""
    return Refusal(400, message, code, param, stored=False)


def state_error(message: str, param: str | None = None, code: str | None = None, **more: Any) -> Refusal:
    """400: the state of an object forbids a well-formed request. The key stores the answer."""
    return Refusal(400, message, code, param, more=more)


def not_found_error(noun: str, name: str, param: str = "id") -> Refusal:
    """404: there is no such object."""
    return Refusal(404, f"No such {noun}: '{name}'", "resource_missing", param)


def authentication_error(message: str, code: str | None = None) -> Refusal:
    """401: the API key is missing, unknown or expired."""
    return Refusal(401, message, code, stored=False)


def server_error() -> Refusal:
    """500: an error inside Stripe."""
    return Refusal(
        500,
        "An unknown error occurred. Please contact support if the problem persists.",
        type="api_error",
    )


def rate_limit_error(reason: str) -> Refusal:
    """429: too many calls; `reason` goes into the `Stripe-Rate-Limited-Reason` header."""
    return Refusal(
        429, "Request rate limit exceeded.", "rate_limit", stored=False,
        headers={"Stripe-Rate-Limited-Reason": reason},
    )  # fmt: skip


def lock_timeout_error() -> Refusal:
    """429: another write holds the object."""
    return Refusal(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request. If you see this error frequently "
        "and are making multiple concurrent requests to a single object, make your requests serially or at a "
        "lower rate.",
        "lock_timeout", stored=False, headers={"Stripe-Should-Retry": "true"},
    )  # fmt: skip


def key_in_use_error(key: str) -> Refusal:
    """409: the first request with this key has no answer yet."""
    return Refusal(
        409,
        "There is currently another in-progress request using this Idempotent Key (that probably means you "
        f"submitted twice, and the other request is still going through): {key}. Please try again later.",
        "idempotency_key_in_use", type="idempotency_error", stored=False,
        headers={"Stripe-Should-Retry": "true"},
    )  # fmt: skip


def permission_error(key: str, account: str, permission: str) -> Refusal:
    """403: the API key lacks a permission (docs.stripe.com/keys/restricted-api-keys)."""
    return Refusal(
        403,
        f"The provided key '{key}' does not have the required permissions for this endpoint on account '{account}'. "
        f"Having the '{permission}' permission would allow this request to continue.",
        stored=False,
    )


def account_error(key: str, account: str) -> Refusal:
    """403: the request's `Stripe-Account` is not this account."""
    return Refusal(
        403,
        f"The provided key '{key}' does not have access to account '{account}' (or that account does not exist). "
        "Application access may have been revoked.",
        "account_invalid",
        stored=False,
    )


def key_reuse_error(key: str, first_path: str, path: str) -> Refusal:
    """400: a key came back with another request than its first."""
    if first_path != path:
        what = f"for the same endpoint they were first used for ('{path}' vs '{first_path}')"
    else:
        what = "with the same parameters they were first used with"
    return Refusal(
        400,
        f"Keys for idempotent requests can only be used {what}. Try using a key other than '{key}' if you meant "
        "to execute a different request.",
        type="idempotency_error", stored=False,
    )  # fmt: skip
