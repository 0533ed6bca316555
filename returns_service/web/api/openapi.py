"""The contract, OpenAPI 3.1, made from the declared operations, so that the contract is the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

from returns_service.commands.stripe_inbox import StripeEventReceiptView
from returns_service.return_case.views.fields import ID_PATTERN
from returns_service.web.api.export import CSV, JSON_LINES
from returns_service.web.api.openapi_events import DATA, event_schemas, webhooks
from returns_service.web.api.openapi_examples import (
    example_of_answer,
    example_of_body,
    example_of_id,
    example_of_stream,
)
from returns_service.web.api.openapi_facts import tell_facts
from returns_service.web.api.openapi_links import links_of
from returns_service.web.api.openapi_problems import HEADER_LINKS, header_components, problems, problems_of
from returns_service.web.api.openapi_words import describe
from returns_service.web.errors import PROBLEM_JSON, ProblemView
from returns_service.web.health_views import HealthView, ReadinessView
from returns_service.web.operations.operation import AnswerHeader, Operation
from returns_service.web.operations.query_string import LIMIT, LONGEST_LIMIT, Form

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
HEADER: Schema = {"type": "string", "maxLength": 4096}
_TAG = '(W/)?"[!#-~]*"'  # in the plainest form, since tools make values out of it
ETAGS: Schema = HEADER | {"pattern": rf"^(\*|{_TAG}( ?, ?{_TAG})*)$"}
# How parameters are written that are not one value.
FORMS: dict[Form, dict[str, Any]] = {
    "listed": {"style": "form", "explode": False},
    "keyed": {"style": "deepObject", "explode": True},
}
AN_ETAG = {"example": '"1"'}
COMPONENTS = "#/components/schemas/"
ABOUT = """\
A return's whole life: from the shop's request, over the receiving dock, to money that is provably back.

Amounts are whole numbers of minor units, written without a fraction or an exponent. No text may hold the NUL
character. Times are RFC 3339 in UTC; ids tell their kind by prefix. Errors are
`application/problem+json` with a stable `code`; 429 and 503 say in `Retry-After` when to come back. A request that
comes too slowly (408), or with headers that are too large (431), is refused before it is read. A POST with an
`Idempotency-Key` may be repeated: the same key gives the same answer, and the effect happens once. A key belongs to
one API key, with its successors by `keys rotate`, and one path: sent to two paths it is two keys, and both requests are
done. Every answer carries a `Request-Id`. HEAD is answered wherever GET is.

A list is answered in pages, the newest first: while `has_more` is true, ask again with the last `id` as
`starting_after`. It is exported whole with `Accept: text/csv` or `Accept: application/jsonl`; in CSV, a list or an
object is JSON in its cell, and a text that a spreadsheet would compute has a `'` before it.
"""
TAGS = {
    "Returns": "Return authorizations: asked for, decided, refunded, closed.",
    "Receipts": "What the dock counted.",
    "Refunds": "Money on its way back, and what became of it.",
    "Payments": "Stripe payments and what is left of them.",
    "Portal": "Links by which a customer sends items back, without an account.",
    "Policy": "The rules in force: the window, what is paid by itself, fees, and the catalogue of reasons.",
    "Events": "The history, as a list or live.",
    "Reconciliations": "Each comparison with Stripe's ledger, and what differed.",
    "Desk": "What waits for a person.",
    "Outgoing webhooks": "Who is told what happens, and whether it arrived.",
    "Service": "Webhooks from Stripe, health, figures: no key is asked.",
}
STREAM = """\
Server-Sent Events. The first one is `ready`: its `id` is the place the stream begins after, also where nothing has
happened yet. Each other one has the event's id as `id`, its type as `event`, and the event itself as `data`, in one
line. A line that begins with a colon is a sign of life, every 15 seconds of silence. A stream ends after an hour at
the latest: ask again with the last `id` as `Last-Event-ID`, and nothing is missed. An id that nobody knows, after a
restore say, is 422: read the list, and begin anew.
"""
HEADERS: dict[AnswerHeader, str] = {"ETag": "The return's version.", "Location": "Where it can be read."}
ID_PREFIXES = {
    "return_id": "ret", "receipt_id": "rcp", "undeclared_id": "und", "unmatched_id": "umr", "refund_id": "rfd",
    "reconciliation_id": "rec", "endpoint_id": "whe", "delivery_id": "dlv",
}  # fmt: skip
PAYMENT_ID: Schema = TEXT | {"pattern": "^(pay_[0-9a-z]{26}|(pi|ch|py)_[A-Za-z0-9_]+)$", "maxLength": 255}


def document(operations: Sequence[Operation]) -> str:
    """Return the contract as YAML, the same at each call."""
    return _write_document(tuple(operations))


@cache
def json_document(operations: tuple[Operation, ...]) -> str:
    """Return the contract as JSON."""
    return msgspec.json.encode(contract(operations)).decode()


@cache
def _write_document(operations: tuple[Operation, ...]) -> str:
    import yaml  # here alone: a service that nobody asks for the contract needs none

    plain = msgspec.json.decode(json_document(operations))  # no part of it is shared, so that none is linked
    fastest = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's takes a quarter of the time
    text: str = yaml.dump(plain, Dumper=fastest, sort_keys=False, allow_unicode=True, width=110)
    return text


def contract(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the contract as one object."""
    paths: dict[str, dict[str, Any]] = {}
    links, schemas = answer_schemas(operations)
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = describe_operation(operation, links, schemas)
    for operation in operations:
        answer = links[operation.answer]["$ref"].removeprefix(COMPONENTS)
        if following := links_of(operation, answer, operations):
            paths[operation.path][operation.method.lower()]["responses"][str(operation.status)]["links"] = following
    describe(schemas)
    tell_facts(schemas["problem"])
    schemas |= event_schemas(schemas["event"], links)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Returns service",
            "version": version("returns-service"),
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": said} for name, said in TAGS.items()],
        "security": [{"api_key": []}],
        "paths": paths | service_paths(links),
        "webhooks": webhooks(),
        "components": {
            "securitySchemes": {
                "api_key": {"type": "http", "scheme": "bearer", "description": "A key, `rsk_…`, with its scopes."}
            },
            "headers": header_components(),
            "schemas": dict(sorted(schemas.items())),
        },
    }


def answer_schemas(operations: Sequence[Operation]) -> tuple[dict[Any, Schema], dict[str, Schema]]:
    """Return a link to each kind of answer, and all schemas that these lead to by their names in the contract."""
    narrow = [operation.receipts_only for operation in operations if operation.receipts_only is not None]
    views = list(dict.fromkeys([*(operation.answer for operation in operations), *narrow, *SERVICE_VIEWS, *DATA]))
    links, schemas = msgspec.json.schema_components(views, ref_template=COMPONENTS + "{name}")
    named = {component_name(name): _tidy(schema) for name, schema in schemas.items()}
    return dict(zip(views, _tidy(list(links)), strict=True)), named


def component_name(view: str) -> str:
    """Return a view's name in the contract: `RefundView` is `refund`, `ListView_RefundView_` is `refund_list`."""
    if listed := re.fullmatch(r"ListView_(\w+)_", view):
        return f"{component_name(listed[1])}_list"
    return re.sub(r"(?<!^)(?=[A-Z])", "_", view.removesuffix("View")).lower()


def _tidy(schema: Any) -> Any:
    """Return what msgspec wrote with the contract's names, the type of words, short nulls and no titles."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {name: _tidy(part) for name, part in schema.items() if not _is_title(name, part)}
    match tidied:
        case {"$ref": link}:
            return tidied | ref(component_name(link.removeprefix(COMPONENTS)))
        case {"anyOf": [{"type": str(kind), **rest}, {"type": "null"}], **more} if "enum" not in rest:
            return {**more, **rest, "type": [kind, "null"]}
        case {"mapping": dict(mapping)}:
            return tidied | {"mapping": {word: _tidy({"$ref": link})["$ref"] for word, link in mapping.items()}}
        case {"enum": [str(only)], **more}:  # a generated client then needs no class for the one word
            return {"type": "string", "const": only, **more}
        case {"enum": _}:
            return {"type": "string", **tidied}
        case {"description": str(said)}:
            return {**tidied, "description": inspect.cleandoc(said)}
    return tidied


def ref(name: str) -> Schema:
    """Return a link to a schema."""
    return {"$ref": COMPONENTS + name}


def describe_operation(operation: Operation, links: Mapping[Any, Schema], schemas: dict[str, Schema]) -> dict[str, Any]:
    """Return one operation; the shapes of its body are added to `schemas`."""
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"{operation.description} Scope: `{operation.scope}`.".strip(),
        "tags": [operation.tag],
        "parameters": [*_of_path(operation), *_of_query(operation, links, schemas), *_of_headers(operation)],
    }
    if operation.body is not None:
        said["requestBody"] = _body(operation, operation.body, schemas)
    answer = links[operation.answer]
    if operation.receipts_only is not None:
        answer = {"anyOf": [answer, links[operation.receipts_only]]}
    said["responses"] = {str(operation.status): _success(operation, answer), **problems_of(operation)}
    if not operation.writes and "ETag" in operation.headers:
        headers = {**HEADER_LINKS, "ETag": {"description": HEADERS["ETag"], "schema": TEXT}}
        said["responses"]["304"] = {"description": "Nothing has changed.", "headers": headers}
    return said


def _of_path(operation: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return [
        {"name": name, "in": "path", "required": True, **_id_of(name), **example_of_id(operation, name)}
        for name in names
    ]


def _id_of(name: str) -> dict[str, Any]:
    if name == "payment_id":
        return {"description": "`pay_…`, or Stripe's `pi_…`, `ch_…` or `py_…`.", "schema": PAYMENT_ID}
    prefix = ID_PREFIXES[name]
    return {"description": f"`{prefix}_…`.", "schema": TEXT | {"pattern": ID_PATTERN.format(prefix)}}


def _of_query(operation: Operation, links: Mapping[Any, Schema], schemas: Mapping[str, Schema]) -> list[dict[str, Any]]:
    found = [
        _query(name, one.description, one.schema) | FORMS.get(one.form, {})
        for name, one in operation.parameters.items()
    ]
    if operation.paged:
        page = schemas[links[operation.answer]["$ref"].removeprefix(COMPONENTS)]
        cursor = schemas[page["properties"]["data"]["items"]["$ref"].removeprefix(COMPONENTS)]["properties"]["id"]
        limit = {"type": "integer", "minimum": 1, "maximum": LONGEST_LIMIT, "default": LIMIT}
        found += [
            _query("limit", "How many a page holds.", limit),
            _query("starting_after", "The page that follows this id; not beside `ending_before`.", cursor),
            _query("ending_before", "The page that leads up to this id; not beside `starting_after`.", cursor),
        ]
    if operation.expandable:
        named = {"type": "string", "enum": list(operation.expandable)}
        words = {"type": "array", "items": named, "maxItems": len(operation.expandable)}
        found.append(_query("expand[]", "What to answer whole instead of by id.", words))
    return found


def _query(name: str, said: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": said, "schema": dict(schema)}


def _of_headers(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if operation.writes:
        said = f"A new UUID; the same one on a retry.{operation.key_rule.note}"
        key = {"type": "string", "maxLength": 255, "minLength": 1, "pattern": "^[ -~]+$"}
        found.append(_header("Idempotency-Key", said, key, required=operation.key_rule.always))
    if operation.if_match:
        of = "refund's return" if "{refund_id}" in operation.path else "return"
        said = f"ETags of the {of} as they were answered, quotes and all, or `*`; another version: 412."
        found.append(_header("If-Match", said, ETAGS) | AN_ETAG)
    if not operation.writes and "ETag" in operation.headers:
        said = "ETags that are known already: 304, without `expand[]`."
        found.append(_header("If-None-Match", said, ETAGS) | AN_ETAG)
    if operation.streams:
        event_id = TEXT | {"pattern": "^evt_(0|[0-9a-z]{26})$"}  # a stream of an empty feed opens with `evt_0`
        found.append(_header("Last-Event-ID", "Live only: the id of the last event that was seen.", event_id))
    return found


def _header(name: str, said: str, schema: Schema, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "description": said, "schema": schema}


class _WithoutDefaults(GenerateJsonSchema):
    """Leaves defaults out: generated clients send them, and so would change what nobody has asked them to."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _without_noise(schema: Any) -> Any:
    """Return what pydantic wrote without titles, which only say a field's name again, and with short nulls."""
    if isinstance(schema, list):
        return [_without_noise(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _without_noise(part) for name, part in schema.items() if not _is_title(name, part)}
    match plain:
        case {"anyOf": [{"type": str(kind), **rest}, {"type": "null"}], **more} if "enum" not in rest:
            return {**more, **rest, "type": [kind, "null"]}
    return plain


def _is_title(name: str, part: Any) -> bool:
    return name == "title" and isinstance(part, str)


def _body(operation: Operation, body: type[BaseModel], schemas: dict[str, Schema]) -> dict[str, Any]:
    schema = body.model_json_schema(ref_template=COMPONENTS + "{model}", schema_generator=_WithoutDefaults)
    if operation.each is not None and operation.each.body is not None:
        (items,) = schema["properties"].values()
        items["items"] = ref(operation.each.body.__name__)
    for name, part in {**schema.pop("$defs", {}), body.__name__: schema}.items():
        schemas[name] = _without_noise(part)
    content: dict[str, Any] = {"schema": ref(body.__name__), "example": example_of_body(operation)}
    required = any(field.is_required() for field in body.model_fields.values())
    return {"required": required, "content": {"application/json": content}}


def _success(operation: Operation, answer: Schema) -> dict[str, Any]:
    headers: dict[str, Any] = dict(HEADER_LINKS)
    if operation.writes:
        said = "`true` where this is the first request's answer again."
        headers["Idempotent-Replayed"] = {"description": said, "schema": TEXT}
    headers |= {name: {"description": HEADERS[name], "schema": TEXT} for name in operation.headers}
    content: dict[str, Any] = {"application/json": {"schema": answer, **example_of_answer(operation.name)}}
    if operation.paged:
        content |= {CSV: {"schema": TEXT}, JSON_LINES: {"schema": TEXT}}
    if operation.streams:
        content["text/event-stream"] = {"schema": TEXT | {"description": STREAM}, "example": example_of_stream()}
    return {"description": "Done." if operation.writes else "Found.", "headers": headers, "content": content}


def _open(name: str, summary: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    problem = {PROBLEM_JSON: {"schema": ref("problem")}}
    answer = {
        "200": {"description": "Answered.", "content": content},
        "4XX": {"description": "The request itself is wrong: its method, or its size.", "content": problem},
    }
    said = {"operationId": name, "summary": summary, "tags": ["Service"], "security": [], **more}
    return said | {"responses": answer | more.get("responses", {})}


SERVICE_VIEWS = (ProblemView, HealthView, ReadinessView, StripeEventReceiptView)
_EVENT = {"type": "object", "description": "A Stripe event, as Stripe signs it."}


def service_paths(links: Mapping[Any, Schema]) -> dict[str, Any]:
    """Return the paths that ask for no key."""
    ready = {"application/json": {"schema": links[ReadinessView]}}

    def answers(name: str, view: type[msgspec.Struct]) -> dict[str, Any]:
        return {"application/json": {"schema": links[view], **example_of_answer(name)}}

    return {
        "/webhooks/stripe": {
            "post": _open(
                "receive_stripe_event", "Take in a webhook from Stripe",
                answers("receive_stripe_event", StripeEventReceiptView),
                description="The signature is checked over the raw body, of at most 256 KiB.",
                parameters=[_header("Stripe-Signature", "Stripe's signature.", HEADER, required=True)],
                requestBody={
                    "required": True,
                    "content": {"application/json": {"schema": _EVENT, "example": {"id": "evt_1", "object": "event"}}},
                },
                responses=problems([
                    "invalid_signature", "body_too_large", "request_timeout", "database_unavailable", "internal_error",
                ]),
            )
        },
        "/healthz": {"get": _open(
            "read_health", "Say that the process is alive", answers("read_health", HealthView),
            description="The database is not asked: a process is not started anew because that is away.",
        )},
        "/readyz": {"get": _open(
            "read_readiness", "Say whether requests can be served", answers("read_readiness", ReadinessView),
            description="The database has to take writes, and to have the schema of this release or a newer one.",
            responses={"503": {"description": "Not ready.", "content": ready}},
        )},
        "/metrics": {"get": _open(
            "read_metrics", "Return figures for Prometheus", {"text/plain": {"schema": TEXT}},
            description="Those of this web, and of the whole service as the database tells them at this scrape.",
        )},
    }  # fmt: skip
