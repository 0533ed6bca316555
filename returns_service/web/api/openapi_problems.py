"""The contract's part for what goes wrong: problems by status with their codes, and the headers of all answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from returns_service.domain.problems import PROBLEMS, ProblemCode
from returns_service.web.errors import PASSING, PROBLEM_JSON
from returns_service.web.operations.operation import KEY_OPTIONAL, Operation

PROBLEM = {"$ref": "#/components/schemas/problem"}
READ_ERRORS: tuple[ProblemCode, ...] = (
    "unauthorized",
    "insufficient_scope",
    "rate_limited",
    "database_unavailable",
    "too_many_connections",
    "internal_error",
)
QUERY_ERRORS: tuple[ProblemCode, ...] = ("malformed_request", "invalid_request", "unknown_filter")
WRITE_ERRORS: tuple[ProblemCode, ...] = (
    "malformed_request", "invalid_request", "unsupported_media_type", "body_too_large", "request_timeout",
    "idempotency_key_reused",
    "idempotency_key_in_use", "unknown_filter",
)  # fmt: skip
RETRY_AFTER = "Retry-After"
COMMON_HEADERS = {
    "Request-Id": "Names this request in logs and events.",
    "RateLimit": "`r`: the requests left now; `t`: the seconds until all are there again. With every counted request.",
    "RateLimit-Policy": "`q`: the requests that may come within `w` seconds.",
}
COME_BACK = (429, 503)  # the statuses that always say when; of others a problem that passes does
HEADER_LINKS = {name: {"$ref": f"#/components/headers/{name}"} for name in COMMON_HEADERS}


def header_components() -> dict[str, Any]:
    """Return the headers that answers link to."""
    texts = {name: {"description": said, "schema": {"type": "string"}} for name, said in COMMON_HEADERS.items()}
    return texts | {RETRY_AFTER: {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}


def problems_of(operation: Operation) -> dict[str, Any]:
    """Return the problems of an operation by status, with their codes."""
    declared: list[ProblemCode] = ["too_many_streams"] if operation.streams else []
    declared += ["version_mismatch"] if operation.writes else []
    codes = [*operation.errors, *declared, *READ_ERRORS, *(WRITE_ERRORS if operation.writes else QUERY_ERRORS)]
    if operation.key_rule is not KEY_OPTIONAL:
        codes.append("idempotency_key_required")
    return problems(codes)


def problems(codes: Sequence[ProblemCode]) -> dict[str, Any]:
    """Return responses by status for these codes.

    The codes stand beside the link to the one schema of problems: validators check both, and generated clients have
    one class for all statuses.
    """
    found: dict[str, Any] = {}
    for status in sorted({PROBLEMS[code].status for code in codes}):
        here = sorted({code for code in codes if PROBLEMS[code].status == status})
        lines = "\n".join(f"- `{code}`: {PROBLEMS[code].title}." for code in here)
        schema = PROBLEM | {"properties": {"code": {"enum": here}}}
        passes = status in COME_BACK or any(code in PASSING for code in here)
        later = {RETRY_AFTER: {"$ref": f"#/components/headers/{RETRY_AFTER}"}} if passes else {}
        content = {PROBLEM_JSON: {"schema": schema}}
        found[str(status)] = {"description": lines, "headers": HEADER_LINKS | later, "content": content}
    return found
