"""Who gets in: every route with every scope, and with no key, an unknown, a revoked and an expired one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from returns_service.commands.api_keys import create_key, revoke_key, rotate_key
from returns_service.commands.staff_users import persons_of
from returns_service.commands.tokens import hash_token
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import SCOPES
from returns_service.store.tables import ApiKey
from returns_service.web.operations.operation import Operation
from returns_service.web.pages.rendering import static_version
from returns_service.web.pages.routes import PAGES
from returns_service.web.rate_limit import Limiter
from returns_service.web.routes import OPERATIONS
from tests.harness.served_shop import ServedShop, expect

EXPECTED = {
    "create_portal_session": "returns:write",
    "create_return": "returns:write", "create_returns": "returns:write", "update_return": "returns:write",
    "cancel_return": "returns:write", "create_note": "returns:write",
    "close_return": "returns:write", "approve_return": "returns:approve", "decline_return": "returns:approve",
    "create_receipt": "receipts:write", "reverse_receipt": "receipts:write", "inspect_receipt": "receipts:write",
    "resolve_undeclared": "receipts:write", "refund_return": "refunds:write", "retry_return": "refunds:write",
    "settle_return_outside": "refunds:write", "create_refund": "refunds:write", "check_refund": "refunds:write",
    "retry_refund": "refunds:write", "settle_refund_outside": "refunds:write", "cancel_refund": "refunds:write",
    "send_refund_again": "refunds:write", "acknowledge_refund": "refunds:write",
    "approve_refund": "returns:approve",
    "assign_refund": "refunds:write", "acknowledge_overpaid_return": "refunds:write",
    "reopen_return": "returns:approve", "correct_receipt": "receipts:write",
    "resolve_return": "returns:write",
    "create_unmatched_receipt": "receipts:write", "attach_receipt": "receipts:write",
    "create_webhook_endpoint": "admin", "list_webhook_endpoints": "admin", "read_webhook_endpoint": "admin",
    "update_webhook_endpoint": "admin", "delete_webhook_endpoint": "admin", "rotate_webhook_secret": "admin",
    "test_webhook_endpoint": "admin", "list_deliveries": "admin", "read_delivery": "admin",
    "retry_one_delivery": "admin",
}  # fmt: skip
OPEN = {"/healthz", "/readyz", "/metrics", "/docs", "/docs/{name:str}", "/openapi.yaml", "/openapi.json",
        "/errors/{code:str}", "/webhooks/stripe", "/sw.js", "/manifest.webmanifest", "/offline",
        "/portal/look.css", "/portal/logo"}  # fmt: skip
STATIC = {f"/static/{static_version()}/{{file_path:path}}", f"/static/{static_version()}/fonts/{{file_path:path}}"}


def path_of(operation: Operation) -> str:
    return re.sub(r"\{\w+\}", "x_1", operation.path)


async def test_every_route_asks_for_a_key_or_is_known_to_be_open(shop: ServedShop) -> None:
    declared = {operation.path.replace("}", ":str}") for operation in OPERATIONS}
    served = {route.path for route in shop.app.routes}
    pages = {page.path for page in PAGES}  # what they ask for: tests/pages/test_guards.py
    assert served == declared | OPEN | STATIC | pages
    for operation in OPERATIONS:
        expected = EXPECTED.get(operation.name, "returns:read" if operation.method == "GET" else None)
        assert operation.scope == expected, operation.name


async def test_every_route_with_every_scope(shop: ServedShop) -> None:
    keys = {scope: await shop.create_key(scope) for scope in SCOPES}
    for operation in OPERATIONS:
        for scope, secret in keys.items():
            headers = {"Authorization": f"Bearer {secret}", "Content-Type": "text/plain"}
            content = b"x" if operation.writes else None  # let in, it gets no further than its wrong content type
            answer = await shop.client.request(operation.method, path_of(operation), headers=headers, content=content)
            if scope in (operation.scope, "admin"):
                assert answer.status_code in (200, 404, 415), (operation.name, scope, answer.text)
            else:
                problem = expect(answer, 403, "insufficient_scope")
                assert problem["required_scope"] == operation.scope
    assert set((await shop.count_rows()).values()) == {0}


@pytest.mark.parametrize("kind", ["none", "unknown", "basic", "empty", "revoked", "expired", "long"])
async def test_every_route_without_a_key_in_force(shop: ServedShop, kind: str) -> None:
    async with shop.db.transaction() as tx:
        row, secret = await create_key(tx, "t", SCOPES, tx.now - timedelta(seconds=1) if kind == "expired" else None)
        if kind == "revoked":
            await revoke_key(tx, row.id)
    words = {
        "unknown": "Bearer rsk_" + "a" * 43, "basic": f"Basic {secret}", "empty": "Bearer ", "none": "",
        "long": "Bearer rsk_" + "a" * 5000,
    }  # fmt: skip
    header = words.get(kind, f"Bearer {secret}")
    for operation in OPERATIONS:
        answer = await shop.client.request(operation.method, path_of(operation), headers={"Authorization": header})
        expect(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_last_use_is_kept_once_a_minute(shop: ServedShop) -> None:
    async def last_use() -> object:
        async with shop.db.reading() as tx:
            chosen = select(ApiKey.last_used_at).where(col(ApiKey.secret_hash) == hash_token(shop.secret))
            return (await tx.exec(chosen)).one()

    assert await last_use() is None
    expect(await shop.get("/v1/returns"), 200)
    first = await last_use()
    assert first is not None
    expect(await shop.get("/v1/returns"), 200)
    assert await last_use() == first
    shop.advance(61)
    expect(await shop.get("/v1/returns"), 200)
    assert await last_use() != first


async def test_the_secret_is_kept_nowhere(shop: ServedShop) -> None:
    async with shop.db.reading() as tx:
        rows = (await tx.exec(select(ApiKey))).all()
    assert shop.secret not in repr([row.model_dump() for row in rows])


async def test_who_asks_too_fast_is_told_when_to_come_back(shop: ServedShop) -> None:
    shop.context.keys = Limiter(1)
    answers = [await shop.get("/v1/returns") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    expect(answers[3], 429, "rate_limited")
    assert answers[3].headers["retry-after"] == "1"
    other = await shop.create_key("admin")
    assert (await shop.get("/v1/returns", headers={"Authorization": f"Bearer {other}"})).status_code == 200
    assert (await shop.get("/healthz")).status_code == 200


async def test_a_stranger_who_guesses_is_slowed_down_before_the_look_up(shop: ServedShop) -> None:
    shop.context.failed_logins = Limiter(1)
    guess = {"Authorization": "Bearer rsk_" + "b" * 43}
    assert (await shop.get("/v1/returns")).status_code == 200
    codes = [(await shop.get("/v1/returns", headers=guess)).status_code for _ in range(5)]
    assert codes == [401, 401, 401, 429, 429]
    assert (await shop.get("/v1/returns")).status_code == 200, "a key that was good a moment ago goes on"
    other = await shop.create_key("admin")
    refused = await shop.get("/v1/returns", headers={"Authorization": f"Bearer {other}"})
    expect(refused, 429, "rate_limited")
    assert refused.headers["retry-after"] == "1"


async def test_five_hundred_bad_keys_meet_a_limit_and_a_good_one_does_not(shop: ServedShop) -> None:
    guess = {"Authorization": "Bearer rsk_" + "b" * 43}
    codes = []
    for _ in range(500):
        codes.append((await shop.get("/v1/returns", headers=guess)).status_code)
        if len(codes) % 50 == 1 and codes[-1] == 401:
            assert (await shop.get("/v1/returns")).status_code == 200
    assert 429 in codes
    assert (await shop.get("/v1/returns")).status_code == 200


async def test_a_keys_successors_are_the_same_person(shop: ServedShop) -> None:
    """Rotated twice, a key without an owner doesn't agree with itself as a second person."""
    async with shop.db.transaction() as tx:
        first, _ = await create_key(tx, "shop", ["returns:approve"])
        second, _ = await rotate_key(tx, first.id, timedelta(hours=1))
        third, _ = await rotate_key(tx, second.id, timedelta(hours=1))
        stranger, _ = await create_key(tx, "shop", ["returns:approve"])
        persons = await persons_of(tx, [first.id, second.id, third.id, stranger.id])
    assert set(persons.values()) == {first.id, stranger.id}
    assert persons[third.id] == first.id


async def test_a_request_repeated_under_a_keys_successor_is_done_once(shop: ServedShop) -> None:
    async with shop.db.transaction() as tx:
        first, secret = await create_key(tx, "shop", ["admin"])
        second, second_secret = await rotate_key(tx, first.id, timedelta(hours=1))
        _, third_secret = await rotate_key(tx, second.id, timedelta(hours=1))
        _, other_secret = await create_key(tx, "shop", ["admin"])
    url = f"/v1/returns/{(await shop.create_approved_return())['id']}/notes"
    ids = []
    for sent_by in (secret, second_secret, third_secret, other_secret):
        answer = await shop.post(url, {"text": "Sent again."}, key="once", authorization=f"Bearer {sent_by}")
        ids.append(expect(answer, 201)["id"])
    assert ids == [ids[0], ids[0], ids[0], ids[3]]
    assert ids[3] != ids[0]


async def test_a_rotated_key_and_its_successor_are_in_force_together_for_a_while(shop: ServedShop) -> None:
    async with shop.db.transaction() as tx:
        old, secret = await create_key(
            tx, "shop", ["returns:read"], tx.now + timedelta(days=30), owner="Mara@Shop.test"
        )
        assert old.owner == "mara@shop.test"
    async with shop.db.transaction() as tx:
        new, newer_secret = await rotate_key(tx, old.id, timedelta(hours=1))
    assert (new.name, new.scopes, new.owner) == ("shop", ["returns:read"], "mara@shop.test")

    async def status(word: str) -> int:
        return (await shop.get("/v1/returns", headers={"Authorization": f"Bearer {word}"})).status_code

    assert [await status(secret), await status(newer_secret)] == [200, 200]
    shop.clock.advance(3601)
    assert [await status(secret), await status(newer_secret)] == [401, 200]
    shop.clock.advance(30 * 86_400)
    assert await status(newer_secret) == 401
    with pytest.raises(Problem):
        async with shop.db.transaction() as tx:
            await rotate_key(tx, old.id, timedelta(hours=1))


async def test_two_keys_of_one_owner_are_one_approver(shop: ServedShop, with_policy: Any) -> None:
    with_policy(second_person_above={"usd": 1})
    made = await shop.create_return()
    async with shop.db.transaction() as tx:
        secrets = [(await create_key(tx, n, ["admin"], owner=o))[1] for n, o in
                   (("a", "mara@shop.test"), ("b", "MARA@shop.test"), ("c", "jide@shop.test"))]  # fmt: skip
    path, body = f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}
    first, again, other = [await shop.post(path, body, Authorization=f"Bearer {secret}") for secret in secrets]
    assert expect(first, 200)["state"] == "requested"
    expect(again, 409, "second_person_required")
    assert expect(other, 200)["state"] == "approved"
