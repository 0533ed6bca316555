"""The one way a request is answered: let in, read, done in one transaction, answered from inside of it.

Every POST goes through `execute`: the Idempotency-Key, the effect and the answer are one transaction, so a killed
request leaves nothing, and a repeated one gets the first one's answer, byte for byte.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
from litestar import HttpMethod, Request, Response
from litestar.handlers import HTTPRouteHandler

from returns_service.commands.idempotency import Remembered
from returns_service.domain.problems import Problem
from returns_service.return_case import event_feed
from returns_service.return_case.events import Actor
from returns_service.return_case.views import ReturnView
from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey
from returns_service.web import authentication
from returns_service.web.api.event_stream import live
from returns_service.web.api.export import CSV, JSON, JSON_LINES, export
from returns_service.web.context import context_of
from returns_service.web.errors import request_id_of
from returns_service.web.head import ASKED
from returns_service.web.operations.batch import execute_batch
from returns_service.web.operations.bodies import LONGEST_BODY_BYTES, canonical_json, parse_object, validate
from returns_service.web.operations.execute import execute
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply
from returns_service.web.operations.parameters import check_ids
from returns_service.web.operations.preconditions import check_no_if_match, is_known, version_tells_all
from returns_service.web.operations.query_string import read_query, wrong

LONGEST_KEY = 255  # of an Idempotency-Key, and of an id
HTTP_NOT_MODIFIED = 304
LONG_BODY_BYTES = 64 * 1024
EVENT_STREAM = "text/event-stream"
AnyRequest = Request[Any, Any, Any]
Handler = Callable[[AnyRequest], Awaitable[Response[Any]]]


def handler_of(operation: Operation) -> HTTPRouteHandler:
    """Return the route that serves an operation."""

    async def answer(request: AnyRequest) -> Response[Any]:
        return await (_answer_write if operation.writes else _answer_read)(operation, request)

    route = HTTPRouteHandler(
        operation.path.replace("}", ":str}"),
        http_method=HttpMethod(operation.method),
        name=operation.name,
        status_code=operation.status,
        include_in_schema=False,
        request_max_body_size=LONGEST_BODY_BYTES,
        opt={"operation": operation},
    )
    return route(answer)


async def _answer_read(operation: Operation, request: AnyRequest) -> Response[Any]:
    database = context_of(request).database

    async def admit(tx: Tx) -> tuple[ApiKey, OperationCall[Any]]:
        key = await authentication.authenticate(request, tx, operation.scope)
        return key, _call(operation, request, key)

    async def look(tx: Tx) -> Response[bytes]:
        key, call = await admit(tx)
        return await answer(tx, key, call)

    async def answer(tx: Tx, key: ApiKey, call: OperationCall[Any]) -> Response[bytes]:
        reply = await operation.work(call, tx)
        if await _is_known(request, call, reply, tx):
            return _answer(request, key, Remembered(HTTP_NOT_MODIFIED, reply.headers, ""))
        return _answer(request, key, Remembered(operation.status, reply.headers, reply.encode()))

    kind = request.accept.best_match([JSON, CSV, JSON_LINES]) if operation.paged else None
    exported = kind if kind in (CSV, JSON_LINES) else None
    if not operation.streams and operation.before_transaction is None and not exported:
        return await database.read(look)
    key, call = await database.read(admit)
    if operation.before_transaction is not None:
        call = replace(call, stripe_read=await operation.before_transaction(call))
    head = ASKED in request.scope["state"]
    if operation.streams:
        await event_feed.bring_up_to_date(database)
    if exported:
        return await export(operation, call, key, exported, head=head)
    if operation.streams and EVENT_STREAM in request.headers.get("accept", "") and not head:
        return await live(call, key, request.headers.get("last-event-id"))
    return await database.read(lambda tx: answer(tx, key, call))


async def _is_known(request: AnyRequest, call: OperationCall[Any], reply: Reply, tx: Tx) -> bool:
    """Return whether the caller has this answer already, by `If-None-Match`.

    What `expand[]` adds has versions of its own, which the ETag doesn't tell.
    """
    known, view = request.headers.get("if-none-match"), reply.body
    if known is None or call.query.expand or not isinstance(view, ReturnView):
        return False
    return is_known(known, reply.headers["ETag"]) and await version_tells_all(tx, view)


async def _answer_write(operation: Operation, request: AnyRequest) -> Response[Any]:
    database = context_of(request).database
    key = await database.read(lambda tx: authentication.authenticate(request, tx, operation.scope))
    call = _call(operation, request, key)
    if not operation.if_match:
        check_no_if_match(request.headers.get("if-match"))
    raw = await request.body()
    sent = parse_object(raw, request.headers.get("content-type", ""))
    await _give_way(raw)
    fingerprint = _fingerprint(request, canonical_json(sent))
    await _give_way(raw)
    call = replace(call, body=validate(operation.body or Empty, sent))
    idempotency_key = _idempotency_key(operation, request, call)
    key_scope = f"{key.first_id or key.id} {request.url.path}"
    if operation.each is not None and operation.show_batch is not None and idempotency_key is not None:
        results = await execute_batch(operation.each, call, call.body.items, key_scope, idempotency_key)
        body = msgspec.json.encode(operation.show_batch(results)).decode()
        return _answer(request, key, Remembered(operation.status, {}, body))
    answer, replayed = await execute(operation, call, key_scope, idempotency_key, fingerprint)
    return _answer(request, key, answer, replayed=replayed)


async def _give_way(raw: bytes) -> None:
    """Let other requests go first between two steps that take long for a long body."""
    if len(raw) > LONG_BODY_BYTES:
        await asyncio.sleep(0)


def _call(operation: Operation, request: AnyRequest, key: ApiKey) -> OperationCall[Any]:
    query = read_query(request.scope["query_string"], operation.query_forms, operation.expandable)
    check_ids(query, operation.parameters)
    return OperationCall(
        context=context_of(request),
        by=Actor(key.id, request_id_of(request)),
        path={name: _checked_id(value) for name, value in request.path_params.items()},
        query=query,
        body=Empty(),
        if_match=request.headers.get("if-match") if operation.if_match else None,
        scopes=frozenset(key.scopes),
    )


def _checked_id(value: str) -> str:
    """Return an id out of the path; what can't be one is not looked for, and named nowhere."""
    if not value.isascii() or not value.isprintable() or len(value) > LONGEST_KEY:
        raise Problem("not_found")
    return value


def _fingerprint(request: AnyRequest, body: bytes) -> str:
    return hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest()


def _idempotency_key(operation: Operation, request: AnyRequest, call: OperationCall[Any]) -> str | None:
    sent = request.headers.get("idempotency-key", "").strip()
    if sent and (len(sent) > LONGEST_KEY or not sent.isascii() or not sent.isprintable()):
        raise wrong("Idempotency-Key", f"Must be at most {LONGEST_KEY} printable ASCII characters")
    if not sent and operation.key_rule.needs_key(call.body):
        raise Problem("idempotency_key_required", param="Idempotency-Key")
    return sent or None


def _answer(request: AnyRequest, key: ApiKey, answer: Remembered, *, replayed: bool = False) -> Response[bytes]:
    headers = dict(answer.headers) | ({"Idempotent-Replayed": "true"} if replayed else {})
    return Response(
        answer.body.encode(),
        status_code=answer.status,
        media_type="application/json",
        headers=headers,
        background=authentication.touch_last_used(context_of(request), key),
    )
