"""Every problem as `application/problem+json` (RFC 9457), unforeseen ones included."""

from __future__ import annotations

import math
import traceback
from html import escape
from typing import Annotated, Any

import msgspec
import structlog
from litestar import MediaType, Request, Response, get
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.types import Scope

from returns_service.domain.problems import PROBLEMS, Problem, ProblemCode
from returns_service.domain.vocabulary import find_word
from returns_service.return_case.views.fields import HttpStatus
from returns_service.store.database import is_unavailable, may_pass
from returns_service.web.context import Context, context_of

PROBLEM_JSON = "application/problem+json"
WAIT_SECONDS = 1  # the least that `Retry-After` can say: what is in the way passes within a second, or takes long
PASSING: tuple[ProblemCode, ...] = (
    "database_unavailable",
    "stripe_unavailable",
    "stripe_refuses_us",
    "idempotency_key_in_use",
    "too_many_connections",
)
CLIENT_GONE = 499  # nginx's number for it: no standard has one
CODES: dict[int, ProblemCode] = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}
ACTOR = "actor"  # in a connection's state: the API key, or the person who is signed in; for the access log
log = structlog.get_logger("returns.http")


class ClientGone(Exception):
    """The client hung up before its request was whole."""


def new_request_id(context: Context) -> str:
    """Return a new request id."""
    return context.database.ids.new("req", context.database.now())


def request_id_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the id of this request, made when it is first asked for."""
    return request_id_in(connection.scope)


def request_id_in(scope: Scope) -> str:
    """Return the request id kept in a connection's scope."""
    state = scope["state"]
    if "request_id" not in state:
        state["request_id"] = new_request_id(scope["litestar_app"].state.context)
    found: str = state["request_id"]
    return found


class FieldErrorView(msgspec.Struct, kw_only=True):
    """One wrong field."""

    param: str | None
    code: str
    message: str


class ProblemView(msgspec.Struct, kw_only=True):
    """What can't be done and why (RFC 9457). A problem's own facts stand beside these members."""

    type: Annotated[str, msgspec.Meta(extra_json_schema={"format": "uri-reference"})]
    title: str
    status: HttpStatus
    detail: str
    advice: Annotated[str, msgspec.Meta(description="What can be done about problems of this code.")]
    instance: str
    code: ProblemCode
    param: str | None
    request_id: str
    errors: list[FieldErrorView]


def problem_body(problem: Problem, *, base: str, instance: str, request_id: str) -> dict[str, Any]:
    """Return the answer's members; the problem's facts stand after the standard ones."""
    view = ProblemView(
        type=f"{base}/errors/{problem.code}",
        title=problem.kind.title,
        status=problem.kind.status,
        detail=problem.detail,
        advice=problem.kind.advice,
        instance=instance,
        code=problem.code,
        param=problem.param,
        request_id=request_id,
        errors=problem.facts.get("errors", []),
    )
    standard = msgspec.to_builtins(view)
    return {**standard, **problem.facts, **standard}  # first and last: no fact takes a standard member's place


def headers_of(problem: Problem) -> dict[str, str]:
    """Return the headers that belong to a problem."""
    if problem.code == "unauthorized":
        return {"WWW-Authenticate": 'Bearer realm="returns"'}
    if problem.code == "request_timeout":
        return {"Connection": "close"}  # or the rest of what comes so slowly would be waited for
    after = problem.facts.get("retry_after", WAIT_SECONDS if problem.code in PASSING else None)
    return {"Retry-After": str(math.ceil(after))} if after is not None else {}


def answer_problem(request: Request[Any, Any, Any], problem: Problem) -> Response[dict[str, Any]]:
    """Answer a request that can't be done."""
    body = problem_body(
        problem,
        base=context_of(request).settings.public_url or "",
        instance=request.url.path,
        request_id=request_id_of(request),
    )
    return Response(body, status_code=problem.kind.status, media_type=PROBLEM_JSON, headers=headers_of(problem))


def answer_refusal(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Answer what the framework itself refuses: no such route, another method, too long a body."""
    if error.status_code >= 500:
        return answer_unforeseen(request, error)
    code = CODES.get(error.status_code, "malformed_request")
    detail = f"There is nothing at {request.url.path}." if error.status_code == 404 else None
    answer = answer_problem(request, Problem(code, detail))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


def answer_unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer an exception that nobody expected: the database is away, or the mistake is ours."""
    if is_unavailable(error) or may_pass(error):
        why = str(getattr(error, "orig", error))[:200]  # the driver's words, without the statement's values
        log.warning("database.unavailable", error=type(error).__name__, why=why, request_id=request_id_of(request))
        return answer_problem(request, Problem("database_unavailable"))
    # Neither the message nor any locals: they hold what the customer wrote.
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("request.failed", error=type(error).__name__, at=where, request_id=request_id_of(request))
    return answer_problem(request, Problem("internal_error"))


def answer_gone(_: Request[Any, Any, Any], __: ClientGone) -> Response[None]:
    """Answer nobody: the status is for the figures alone."""
    return Response(None, status_code=CLIENT_GONE)


HANDLERS: dict[int | type[Exception], Any] = {
    Problem: answer_problem,
    ClientGone: answer_gone,
    HTTPException: answer_refusal,
    Exception: answer_unforeseen,
}


@get("/errors/{code:str}", include_in_schema=False, sync_to_thread=False)
def explain_problem(request: Request[Any, Any, Any]) -> Response[Any]:
    """Say what a problem's `type` means: as a page for people, as JSON for the rest."""
    code = find_word(PROBLEMS, request.path_params["code"])
    if code is None:
        raise Problem("not_found", "There is no such problem.")
    kind = PROBLEMS[code]
    if "text/html" in request.headers.get("accept", ""):
        page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(kind.title)}</title>"
        page += f"<h1>{escape(kind.title)}</h1><p>HTTP {kind.status}, <code>{escape(code)}</code>"
        return Response(f"{page}<p>{escape(kind.advice)}</html>", media_type=MediaType.HTML)
    return Response({"code": code, "title": kind.title, "status": kind.status, "advice": kind.advice})
