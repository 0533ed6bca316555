"""Staff, their sessions, links and devices, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import col, select

from returns_service.commands import devices, sessions, sign_in_throttle, staff_users
from returns_service.commands.passwords import hash_password, hash_pin, matches
from returns_service.commands.provider_sign_in import admit
from returns_service.domain.identity import Identity
from returns_service.domain.problems import Problem
from returns_service.domain.roles import allows, scopes_of
from returns_service.domain.vocabulary import ROLES, SCOPES
from returns_service.store.database import Database, Tx
from returns_service.store.tables import Device, SignInLink, StaffSession, StaffUser
from returns_service.worker import maintenance
from tests.harness.clock import Clock


async def mara(tx: Tx) -> StaffUser:
    return await staff_users.user_by_email(tx, "mara@shop.test") or await staff_users.add_user(
        tx, "Mara@Shop.test ", "warehouse"
    )


async def test_an_address_is_one_person_in_whatever_case(database: Database) -> None:
    async with database.transaction() as tx:
        assert (await mara(tx)).email == "mara@shop.test"
    for email in ("MARA@shop.TEST", "no address", "a@b\x00", "x" * 320 + "@b"):
        with pytest.raises(Problem):
            async with database.transaction() as tx:
                await staff_users.add_user(tx, email, "finance")


async def test_a_link_signs_in_once_also_where_two_take_it_at_once(database: Database) -> None:
    async with database.transaction() as tx:
        token = await staff_users.make_link(tx, await mara(tx), "cli")

    async def use(_: int) -> bool:
        return await database.run(lambda tx: staff_users.use_link(tx, token)) is not None

    assert sorted(await asyncio.gather(*map(use, range(8)))) == [False] * 7 + [True]


async def test_a_link_is_over_after_fifteen_minutes_and_with_its_person(database: Database, clock: Clock) -> None:
    async with database.transaction() as tx:
        first = await staff_users.make_link(tx, await mara(tx), "cli")
    clock.advance(15 * 60 + 1)
    async with database.transaction() as tx:
        assert await staff_users.use_link(tx, first) is None
        second = await staff_users.make_link(tx, await mara(tx), "cli")
        await staff_users.disable_user(tx, "mara@shop.test")
        assert await staff_users.use_link(tx, second) is None
        assert await staff_users.link_in_force(tx, "x" * 500) is None
        await staff_users.enable_user(tx, "mara@shop.test")
        assert await staff_users.use_link(tx, second) is not None


async def test_a_link_of_the_demo_signs_in_more_than_once(database: Database) -> None:
    async with database.transaction() as tx:
        token = await staff_users.make_link(tx, await mara(tx), "demo", reusable=True)
        uses = [await staff_users.use_link(tx, token, reusable=True) for _ in range(3)]
        assert None not in uses


async def test_a_link_of_the_demo_is_nobodys_elsewhere(database: Database) -> None:
    async with database.transaction() as tx:
        token = await staff_users.make_link(tx, await mara(tx), "demo", reusable=True)
        assert await staff_users.link_in_force(tx, token) is None
        assert await staff_users.use_link(tx, token) is None


async def test_a_session_ends_by_itself_idle_or_not(database: Database, clock: Clock) -> None:
    async with database.transaction() as tx:
        token = await sessions.begin_session(tx, await mara(tx), "password")

    async def is_in() -> bool:
        async with database.reading() as tx:
            return await sessions.session_in_force(tx, token) is not None

    async def click() -> None:
        async with database.transaction() as tx:
            signed_in = await sessions.session_in_force(tx, token)
            assert signed_in is not None
            await sessions.touch_session(tx, signed_in.session.id)

    for _ in range(5):
        clock.advance(2 * 3600)
        await click()
    clock.advance(2 * 3600 + 1)
    assert not await is_in(), "a shift is over, however busy"
    async with database.transaction() as tx:
        token = await sessions.begin_session(tx, await mara(tx), "password")
    clock.advance(3 * 3600 + 1)
    assert not await is_in(), "nobody used it"


async def test_signing_in_again_ends_the_session_before(database: Database) -> None:
    async with database.transaction() as tx:
        first = await sessions.begin_session(tx, await mara(tx), "password")
        second = await sessions.begin_session(tx, await mara(tx), "password", replaces=first)
        assert first != second
        assert await sessions.session_in_force(tx, first) is None
        assert await sessions.session_in_force(tx, second) is not None
        rows = (await tx.exec(select(StaffSession))).all()
        assert first not in repr([row.model_dump() for row in rows])


async def test_sessions_are_ended_one_by_one_or_all_but_ones_own(database: Database) -> None:
    async with database.transaction() as tx:
        user, other = await mara(tx), await staff_users.add_user(tx, "jide@shop.test", "finance")
        tokens = [await sessions.begin_session(tx, user, "password") for _ in range(3)]
        rows = [s.session for t in tokens if (s := await sessions.session_in_force(tx, t))]
        assert not await sessions.end_session(tx, other.id, rows[0].id), "nobody ends a colleague's session"
        assert await sessions.end_session(tx, user.id, rows[0].id)
        await sessions.end_sessions(tx, user.id, but=rows[1].id)
    async with database.reading() as tx:
        assert [row.id for row in await sessions.sessions_of(tx, user.id)] == [rows[1].id]


async def test_a_new_password_and_a_disabled_person_end_all_sessions(database: Database) -> None:
    async with database.transaction() as tx:
        token = await sessions.begin_session(tx, await mara(tx), "password")
    async with database.transaction() as tx:
        await staff_users.change_user(tx, "mara@shop.test", password_hash="h")
    async with database.transaction() as tx:
        assert await sessions.session_in_force(tx, token) is None
        token = await sessions.begin_session(tx, await mara(tx), "password")
    async with database.transaction() as tx:
        await staff_users.disable_user(tx, "mara@shop.test")
    async with database.reading() as tx:
        assert await sessions.session_in_force(tx, token) is None


async def test_a_scan_is_signed_by_its_session_even_after_its_end(database: Database, clock: Clock) -> None:
    async with database.transaction() as tx:
        token = await sessions.begin_session(tx, await mara(tx), "password")
        signed_in = await sessions.session_in_force(tx, token)
        assert signed_in is not None
        signature = sessions.scan_token(signed_in.session)
        await sessions.end_sessions(tx, signed_in.user.id)
    async with database.reading() as tx:
        user = await sessions.scanner_of(tx, signature)
        assert user is not None
        assert user.email == "mara@shop.test"
        wrong = signature[:-1] + ("1" if signature.endswith("0") else "0")
        for forged in ("", ".", wrong, signature.partition(".")[0], "ses_x." + "0" * 64, "\0.\0"):
            assert await sessions.scanner_of(tx, forged) is None
    clock.advance(15 * 86_400)
    async with database.reading() as tx:
        assert await sessions.scanner_of(tx, signature) is None


async def test_ten_wrong_codes_in_a_row_end_a_devices_approval(database: Database) -> None:
    async with database.transaction() as tx:
        device, token = await devices.ask_for_device(tx, "  Dock   2 ")
        assert device.name == "Dock 2"
        await devices.approve_device(tx, device.id, "cli")
        for right in [False] * 9 + [True] + [False] * 9:
            devices.count_code(tx, device, right=right)
        approved = [device.approved_at is not None]
        devices.count_code(tx, device, right=False)
        approved += [device.approved_at is not None]
        assert approved == [True, False]
        assert await devices.device_of(tx, token) is not None
        await devices.approve_device(tx, device.id, "cli")
        session = await sessions.begin_session(tx, await mara(tx), "badge", device=device)
        await devices.revoke_device(tx, device.id)
        assert await devices.device_of(tx, token) is None
        assert await sessions.session_in_force(tx, session) is None
        with pytest.raises(Problem):
            await devices.approve_device(tx, device.id, "cli")


async def test_devices_that_nobody_approves_dont_pile_up(database: Database, clock: Clock) -> None:
    async with database.transaction() as tx:
        for number in range(devices.MOST_WAITING):
            await devices.ask_for_device(tx, f"Dock {number}")
    with pytest.raises(Problem):
        async with database.transaction() as tx:
            await devices.ask_for_device(tx, "One more")
    clock.advance(2 * 86_400)
    async with database.transaction() as tx:
        await devices.ask_for_device(tx, "One more")
        assert len(await devices.list_devices(tx)) == 1


async def test_a_badge_and_a_pin_find_their_person(database: Database) -> None:
    pin_hash = hash_pin("004711")
    async with database.transaction() as tx:
        await mara(tx)
        await staff_users.add_user(tx, "tomasz@shop.test", "warehouse")
        _, badge = await staff_users.give_badge(tx, "mara@shop.test")
        assert badge.isdigit()
        assert len(badge) == 20
        await staff_users.give_pin(tx, "mara@shop.test", pin_hash)
        with pytest.raises(Problem, match="taken"):
            await staff_users.give_pin(tx, "tomasz@shop.test", pin_hash)
        for found in (
            await staff_users.user_by_code(tx, badge=badge),
            await staff_users.user_by_code(tx, pin_hash=hash_pin("004711")),
        ):
            assert found is not None
            assert found.email == "mara@shop.test"
        assert await staff_users.user_by_code(tx, badge="0" * 20) is None
        assert await staff_users.user_by_code(tx, pin_hash=None) is None
        await staff_users.disable_user(tx, "mara@shop.test")
        await tx.flush()
        assert await staff_users.user_by_code(tx, badge=badge) is None


async def test_tries_are_counted_per_account_and_address_and_wait_longer_each_time(
    database: Database, clock: Clock
) -> None:
    async def attempt(account: str, address: str = "192.0.2.1") -> sign_in_throttle.Try:
        return await database.run(lambda tx: sign_in_throttle.take_try(tx, account=account, address=address))

    assert [(await attempt("mara")).left for _ in range(5)] == [4, 3, 2, 1, 0]
    assert 0 < (await attempt("mara")).wait_seconds <= 30
    assert (await attempt("mara", "192.0.2.2")).wait_seconds > 0, "the account waits wherever they come from"
    assert (await attempt("jide")).wait_seconds == 0
    clock.advance(31)
    assert (await attempt("mara")).wait_seconds == 0
    assert 30 < (await attempt("mara")).wait_seconds <= 60
    for number in range(13):
        assert (await attempt(f"guess{number}")).wait_seconds == 0
    assert (await attempt("fresh")).wait_seconds > 0, "twenty tries of one address"
    assert (await attempt("fresh", "192.0.2.3")).wait_seconds == 0
    clock.advance(3601)
    assert (await attempt("mara")).left == 4


async def test_fifty_guesses_at_once_are_fifty_tries(database: Database) -> None:
    async def attempt(number: int) -> bool:
        tried = await database.run(
            lambda tx: sign_in_throttle.take_try(tx, account="mara", address=f"192.0.2.{number}")
        )
        return tried.wait_seconds == 0

    assert sum(await asyncio.gather(*map(attempt, range(50)))) == 5


async def test_a_right_password_gives_its_try_back(database: Database) -> None:
    for _ in range(50):
        async with database.transaction() as tx:
            assert (await sign_in_throttle.take_try(tx, account="mara", address="192.0.2.1")).wait_seconds == 0
        async with database.transaction() as tx:
            await sign_in_throttle.give_back(tx, account="mara", address="192.0.2.1")


async def test_what_is_over_is_cleaned_away(database: Database, clock: Clock) -> None:
    async with database.transaction() as tx:
        await sessions.begin_session(tx, await mara(tx), "password")
        await staff_users.make_link(tx, await mara(tx), "cli")
        await sign_in_throttle.take_try(tx, account="mara")
    assert await maintenance.delete_expired(database, idempotency_hours=24, inbox_days=30) == 0
    clock.advance(timedelta(days=31).total_seconds())
    assert await maintenance.delete_expired(database, idempotency_hours=24, inbox_days=30) == 3


def test_passwords() -> None:
    kept = hash_password("correct horse battery")
    assert kept.startswith("$argon2id$")
    assert matches("correct horse battery", kept)
    assert not matches("correct horse batterie", kept)
    assert not matches("the time it takes tells nobody whether an account exists", None)
    assert not matches("x", "not a hash")
    for wrong in ("short", "x" * 300):
        with pytest.raises(Problem):
            hash_password(wrong)


def test_roles_and_what_they_may_do() -> None:
    allowed = {role: [scope for scope in SCOPES if allows(scopes_of(role), scope)] for role in ROLES}
    assert allowed == {
        "warehouse": ["returns:read", "receipts:write"],
        "approver": ["returns:read", "returns:write", "returns:approve"],
        "finance": ["returns:read", "refunds:write"],
        "admin": [*SCOPES],
    }
    by_badge = {role: sorted(scopes_of(role, receiving_only=True)) for role in ROLES}
    assert by_badge == {
        "warehouse": ["receipts:write", "returns:read"],
        "approver": ["returns:read"],
        "finance": ["returns:read"],
        "admin": ["receipts:write", "returns:read"],
    }


async def test_no_secret_is_kept(database: Database) -> None:
    async with database.transaction() as tx:
        user = await mara(tx)
        _, badge = await staff_users.give_badge(tx, user.email)
        secrets = [
            await sessions.begin_session(tx, user, "password"), await staff_users.make_link(tx, user, "cli"), badge,
            (await devices.ask_for_device(tx, "Dock"))[1],
        ]  # fmt: skip
        await tx.flush()
        kept = ""
        for kind in (StaffUser, StaffSession, SignInLink, Device):
            kept += repr([row.model_dump() for row in (await tx.exec(select(kind).order_by(col(kind.id)))).all()])
    for secret in secrets:
        assert secret not in kept


async def test_of_many_first_sign_ins_at_the_provider_one_adds_the_person(database: Database) -> None:
    who = Identity("https://login.shop.test", "u-1", "Mara@Shop.test", email_verified=True, groups=("dock",))

    async def come_in(_: int) -> str:
        admitted = await database.run(lambda tx: admit(tx, who, [("dock", "warehouse")]))
        return admitted if isinstance(admitted, str) else admitted.id

    assert len(set(await asyncio.gather(*map(come_in, range(8))))) == 1
    async with database.transaction() as tx:
        (row,) = await staff_users.list_users(tx)
        assert (row.email, row.role, row.role_group, row.oidc_subject) == ("mara@shop.test", "warehouse", "dock", "u-1")
        assert await admit(tx, replace(who, subject="u-2"), [("dock", "warehouse")]) == "email_taken"
        assert await admit(tx, replace(who, issuer="https://new.shop.test"), []) is row, "the shop's next provider"
        assert await admit(tx, replace(who, subject="u-3", email="no address"), [("dock", "admin")]) == "email_missing"
        assert await admit(tx, replace(who, subject="u-3", email="x@shop.test"), []) == "unknown"
