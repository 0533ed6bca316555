"""Many requests in one: each is done in a transaction of its own and has a result of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from returns_service.domain.problems import Problem
from returns_service.web.errors import problem_body
from returns_service.web.operations.bodies import canonical_json, validate
from returns_service.web.operations.execute import execute
from returns_service.web.operations.operation import BatchResult, Operation, OperationCall


async def execute_batch(
    each: Operation, call: OperationCall[Any], items: Sequence[dict[str, Any]], key_scope: str, idempotency_key: str
) -> list[BatchResult]:
    """Do each of the items, in their order; return each one's answer or problem.

    Each item is remembered under the batch's key and its own place: a batch that is sent again does what is not done
    yet.
    """
    results = []
    for number, item in enumerate(items):
        try:
            fingerprint = hashlib.sha256(canonical_json(item)).hexdigest()
            item_call = replace(call, body=validate(each.body, item) if each.body else call.body)
            answer, replayed = await execute(each, item_call, f"{key_scope} {number}", idempotency_key, fingerprint)
        except Problem as problem:
            base = call.context.settings.public_url or ""
            shown = problem_body(problem, base=base, instance=each.path, request_id=call.by.request_id or "")
            results.append(BatchResult(problem.kind.status, None, shown, replayed=False))
        else:
            results.append(BatchResult(answer.status, msgspec.json.decode(answer.body), None, replayed=replayed))
    return results
