"""Execute a write once: its idempotency key, its effect and its answer are one transaction.

A killed request leaves nothing, and a repeated one gets the first one's answer, byte for byte. The API and the pages
both come through here; a page's form carries its key as a one-time token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from returns_service.commands import idempotency
from returns_service.commands.idempotency import Remembered
from returns_service.domain.problems import Problem
from returns_service.store.database import Tx
from returns_service.web.operations.operation import Operation, OperationCall
from returns_service.web.operations.preconditions import check_if_match


async def execute(
    operation: Operation, call: OperationCall[Any], key_scope: str, idempotency_key: str | None, fingerprint: str
) -> tuple[Remembered, bool]:
    """Do a write, or find that it was done under this key; return its answer, and whether it was done before.

    `key_scope`: whose key it is, and for which path; `fingerprint`: the digest of the request that the key stands for.
    Raises Problem, also where the key was used for another request.
    """
    database = call.context.database
    if operation.before_transaction is not None:
        if idempotency_key is not None:
            stored = await database.read(lambda tx: idempotency.recall(tx, key_scope, idempotency_key, fingerprint))
            if stored is not None:
                return stored, True
        call = replace(call, stripe_read=await operation.before_transaction(call))

    async def work(tx: Tx) -> tuple[Remembered, bool]:
        if idempotency_key is not None:
            stored = await idempotency.begin(tx, key_scope, idempotency_key, fingerprint)
            if stored is not None:
                return stored, True
        if call.if_match is not None:
            await _check_version(operation, call, tx, call.if_match)
        reply = await operation.work(call, tx)
        answer = Remembered(operation.status, dict(reply.headers), reply.encode())
        if idempotency_key is not None:
            await idempotency.remember(tx, key_scope, idempotency_key, replace(answer, body=reply.encode_to_keep()))
        return answer, False

    return await database.run(work, safe_to_repeat=idempotency_key is not None or operation.repeats_safely(call.body))


async def _check_version(operation: Operation, call: OperationCall[Any], tx: Tx, if_match: str) -> None:
    """Raise Problem version_mismatch, unless it is this very request that has changed the version before."""
    try:
        await check_if_match(tx, call.path, if_match)
    except Problem:  # the payment is locked from here on: nobody else can do it meanwhile
        if operation.is_done is None or not await operation.is_done(call, tx):
            raise
