"""Do what the API does, asked by a form: the same operation, the same checks, the form's one-time token as its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from returns_service.return_case.events import Actor
from returns_service.web.operations.bodies import canonical_json, validate
from returns_service.web.operations.execute import execute
from returns_service.web.operations.operation import Empty, Operation, OperationCall
from returns_service.web.operations.query_string import Query
from returns_service.web.pages.page import PageCall


async def perform(
    call: PageCall,
    operation: Operation,
    path: Mapping[str, str],
    body: dict[str, Any],
    once: str,
    *,
    by: Actor | None = None,
    if_match: str | None = None,
) -> dict[str, Any]:
    """Do a write under the form's one-time token `once`; return its answer, also where it was done before.

    `by` names the person who did it, where somebody else sends it; `if_match` the version that was read. Raises
    Problem, as the API does.
    """
    actor = by or call.by
    checked = validate(operation.body or Empty, body)
    scopes = call.visitor.scopes
    known = if_match if operation.if_match else None
    operation_call = OperationCall(call.context, actor, path, Query(), checked, if_match=known, scopes=scopes)
    where = f"{operation.name} {' '.join(path.values())}"
    fingerprint = hashlib.sha256(where.encode() + b"\n" + canonical_json(body)).hexdigest()
    answer, _ = await execute(operation, operation_call, f"{actor.actor} {where}", once, fingerprint)
    found: dict[str, Any] = json.loads(answer.body)
    return found
