"""The doctor names what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import namedtuple
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from markupsafe import escape
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from returns_service import doctor
from returns_service.cli import commands
from returns_service.commands.sealing import look_at_sealing
from returns_service.commands.webhook_endpoints import create_endpoint
from returns_service.doctor import Finding, as_json, examine, worst
from returns_service.domain.stripe_objects import NEEDED_EVENTS
from returns_service.settings import Settings
from returns_service.store import schema
from returns_service.store.database import Database
from returns_service.store.vault import Vault
from returns_service.stripe_gateway import StripeGateway
from returns_service.web.pages.health import LABELS
from tests.factories import create_stripe_event
from tests.gateway.shapes import error, event, listing, ok, routes
from tests.harness.served_shop import open_shop
from tests.pages.conftest import add_person, open_desk

URL = "https://returns.example.com"
KEY = "sk_" + "test_" + "doctor"
RESTRICTED = "rk_" + "test_" + "doctor"
ACCOUNT = {"id": "acct_1", "object": "account"}


def endpoint(**changes: Any) -> dict[str, Any]:
    return {
        "id": "we_1", "object": "webhook_endpoint", "url": f"{URL}/webhooks/stripe", "status": "enabled",
        "livemode": False, "enabled_events": ["*"], "api_version": None, **changes,
    }  # fmt: skip


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {
        "stripe_secret_key": SecretStr(KEY), "public_url": URL,
        "stripe_webhook_secret": (SecretStr("whsec_" + "x" * 9),),
    }  # fmt: skip
    return Settings(**given | changes)


@asynccontextmanager
async def examined(url: str, answers: dict[str, Any], **changes: Any) -> AsyncIterator[dict[str, list[Finding]]]:
    """Examine a database and a Stripe that answers like this; yield the findings by their names."""
    chosen = settings(database_url=url, **changes)
    assert chosen.stripe_secret_key is not None
    transport = httpx.MockTransport(routes(**answers))
    gateway = StripeGateway(chosen.stripe_secret_key.get_secret_value(), transport=transport)
    database = Database(url)
    try:
        lines: dict[str, list[Finding]] = {}
        for finding in await examine(chosen, database, gateway):
            lines.setdefault(finding.name, []).append(finding)
        yield lines
    finally:
        await gateway.close()
        await database.close()


async def line(url: str, name: str, answers: dict[str, Any], **changes: Any) -> Finding:
    async with examined(url, answers, **changes) as lines:
        return lines[name][0]


WELL = {"account": ACCOUNT, "webhook_endpoints": listing(endpoint())}


async def test_all_is_well(database_url: str) -> None:
    async with examined(database_url, WELL, public_url=None) as lines:
        found = [finding for group in lines.values() for finding in group]
    assert {finding.name: finding.level for finding in found} == {
        "policy": "ok", "stripe_key": "ok", "stripe_permissions": "ok", "stripe_api_version": "ok", "clock": "ok",
        "stripe_webhook": "ok", "database": "ok", "schema": "ok", "queue": "ok", "oldest_refund": "ok", "events": "ok",
        "secrets": "ok", "disk": "ok", "public_url": "ok",
    }  # fmt: skip
    assert as_json(found)["level"] == "ok"


@pytest.mark.parametrize(
    "answers, level, says, do",
    [
        ({"account": error(401, message="Invalid API Key provided")}, "fail", "Invalid API Key", "STRIPE_SECRET_KEY"),
        ({"account": error(403, message="no"), "webhook_endpoints": listing(endpoint())}, "ok", "may not see", ""),
        ({"account": httpx.Response(502, text="<html>")}, "fail", "", "api.stripe.com; https://status.stripe.com"),
        ({"account": httpx.ConnectError("cut")}, "fail", "No connection", "api.stripe.com; https://status.stripe.com"),
    ],
)
async def test_the_key(sqlite_url: str, answers: dict[str, Any], level: str, says: str, do: str) -> None:
    found = await line(sqlite_url, "stripe_key", answers)
    assert (found.level, says in found.message, do in found.do) == (level, True, True), found
    assert bool(found.do) == (level != "ok")


@pytest.mark.parametrize("account", [error(401, message="Invalid API Key provided"), httpx.ConnectError("cut")])
async def test_nothing_is_said_of_permissions_that_nobody_could_try(sqlite_url: str, account: Any) -> None:
    async with examined(sqlite_url, {**WELL, "account": account}) as lines:
        assert lines["stripe_key"][0].level == "fail"
        assert "stripe_permissions" not in lines


async def test_a_key_that_hides_its_account_may_list_the_endpoints(sqlite_url: str) -> None:
    hidden = {**WELL, "account": error(403, message="no")}
    assert (await line(sqlite_url, "stripe_webhook", hidden)).level == "ok"
    found = await line(sqlite_url, "stripe_webhook", {**hidden, "webhook_endpoints": error(403, message="no")})
    assert (found.level, f"{URL}/webhooks/stripe" in found.do) == ("warn", True)


@pytest.mark.parametrize("secret, says", [(None, "No signing secret"), ("nonsense", "begin with")])
async def test_what_cant_be_a_signing_secret_is_told_at_once(sqlite_url: str, secret: str | None, says: str) -> None:
    given = (SecretStr(secret),) if secret else ()
    found = await line(sqlite_url, "stripe_webhook_secret", WELL, stripe_webhook_secret=given)
    assert (found.level, says in found.message, "STRIPE_WEBHOOK_SECRET" in found.do) == ("fail", True, True)
    assert secret is None or secret not in found.message


@pytest.mark.parametrize(
    "changes, level, says",
    [
        ({}, "ok", "every event"),
        ({"enabled_events": list(NEEDED_EVENTS)}, "ok", "every event"),
        ({"enabled_events": list(NEEDED_EVENTS[1:])}, "fail", NEEDED_EVENTS[0]),
        ({"status": "disabled"}, "fail", "disabled"),
        ({"url": "https://elsewhere.example.com/webhooks/stripe"}, "fail", "sends nothing"),
        ({"livemode": True}, "fail", "sends nothing"),
    ],
)
async def test_the_webhook_endpoint(sqlite_url: str, changes: dict[str, Any], level: str, says: str) -> None:
    answers = {"account": ACCOUNT, "webhook_endpoints": listing(endpoint(**changes))}
    found = await line(sqlite_url, "stripe_webhook", answers)
    assert (found.level, says in found.message) == (level, True), found
    assert bool(found.do) == (level != "ok")
    assert ("Add this event to the endpoint" in found.do) == (says == NEEDED_EVENTS[0])


async def test_a_restricted_key_is_told_each_permission_it_lacks(sqlite_url: str) -> None:
    forbidden = error(403, message="The provided key does not have the required permissions")
    answers = {
        **WELL, "payment_intents": listing(), "charges": forbidden, "refunds": forbidden, "disputes": listing(),
        "events": listing(), "balance_transactions": forbidden,
    }  # fmt: skip
    async with examined(sqlite_url, answers, stripe_secret_key=SecretStr(RESTRICTED)) as lines:
        found = {finding.message.partition(":")[0]: finding.level for finding in lines["stripe_permissions"]}
        said = {finding.message.partition(": ")[2].partition(":")[0] for finding in lines["stripe_permissions"]}
    assert found == {"Charges": "fail", "Refunds": "fail", "Balance transactions": "warn"}
    assert said == {"read", "write"}
    allowed = {**answers, "charges": listing(), "refunds": error(404, code="resource_missing", message="No such pi")}
    allowed["balance_transactions"] = error(404, message="Unrecognized request URL")
    found_one = await line(sqlite_url, "stripe_permissions", allowed, stripe_secret_key=SecretStr(RESTRICTED))
    assert found_one.level == "ok"


async def test_a_restricted_key_that_may_not_read_disputes_is_told_so(sqlite_url: str) -> None:
    forbidden = error(403, message="The provided key does not have the required permissions")
    well = {name: listing() for name in ("payment_intents", "charges", "events", "balance_transactions")}
    answers = {**WELL, **well, "refunds": error(404, code="resource_missing", message="No such pi")}
    restricted = SecretStr(RESTRICTED)
    assert (await line(sqlite_url, "stripe_permissions", answers, stripe_secret_key=restricted)).level == "ok"
    answers["disputes"] = forbidden
    found = await line(sqlite_url, "stripe_permissions", answers, stripe_secret_key=restricted)
    assert (found.level, found.message.partition(":")[0]) == ("fail", "Disputes")
    assert "Give the restricted key this permission" in found.do


@pytest.mark.parametrize(
    "minutes_ago, endpoints, level",
    [
        ((), [endpoint()], "ok"),
        ((0,), [endpoint()], "ok"),  # just being sent
        ((5, 50), [endpoint()], "fail"),
        ((5,), [endpoint(), endpoint(id="we_2", url="https://other.example.com")], "warn"),
        ((5,), [endpoint(), endpoint(id="we_2", url="https://other.example.com", status="disabled")], "fail"),
    ],
)
async def test_a_wrong_signing_secret_shows_in_what_stripe_cannot_deliver(
    sqlite_url: str, minutes_ago: tuple[int, ...], endpoints: list[dict[str, Any]], level: str
) -> None:
    now = datetime.now(UTC).timestamp()
    events = [event(id=f"evt_{minutes}", created=int(now - 60 * minutes)) for minutes in minutes_ago]
    answers = {**WELL, "webhook_endpoints": listing(*endpoints), "events": listing(*events)}
    found = await line(sqlite_url, "stripe_deliveries", answers)
    assert found.level == level
    assert ("STRIPE_WEBHOOK_SECRET" in found.do) == (level != "ok")


@pytest.mark.parametrize("behind_seconds, level", [(0, "ok"), (3, "ok"), (60, "warn"), (-60, "warn"), (400, "fail")])
async def test_the_clock_is_compared_with_stripes(sqlite_url: str, behind_seconds: int, level: str) -> None:
    there = format_datetime(datetime.now(UTC) + timedelta(seconds=behind_seconds), usegmt=True)
    found = await line(sqlite_url, "clock", {**WELL, "account": ok(ACCOUNT, Date=there)})
    assert found.level == level
    assert (found.do != "") == (level != "ok")


async def test_the_clock_is_read_when_stripe_tells_its_own(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def take_a_minute(*_: object) -> None:
        monkeypatch.setattr(Database, "now", lambda _: datetime.now(UTC) + timedelta(minutes=1))

    monkeypatch.setattr(doctor, "_find_undelivered", take_a_minute)
    there = format_datetime(datetime.now(UTC), usegmt=True)
    assert (await line(sqlite_url, "clock", {**WELL, "account": ok(ACCOUNT, Date=there)})).level == "ok"


async def test_the_clock_that_webhooks_are_judged_by_is_the_databases(postgresql_url: str) -> None:
    there = format_datetime(datetime.now(UTC) - timedelta(minutes=1), usegmt=True)
    found = await line(postgresql_url, "clock", {**WELL, "account": ok(ACCOUNT, Date=there)})
    assert (found.level, "the database’s machine" in found.do) == ("warn", True)


async def test_a_database_that_takes_no_writes(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    async with database.writer.begin() as connection:
        name = (await connection.execute(text("SELECT current_database()"))).scalar_one()
        await connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    await database.close()
    found = await line(postgresql_url, "database", WELL)
    assert (found.level, "primary" in found.do) == ("fail", True)


async def test_a_database_that_is_gone_or_old(tmp_path: Path) -> None:
    found = await line(f"sqlite:///{tmp_path}/none.db", "database", WELL)
    assert (found.level, (tmp_path / "none.db").exists()) == ("warn", False)
    gone = await line("postgresql://nobody@127.0.0.1:1/none", "database", WELL)
    assert (gone.level, "DATABASE_URL" in gone.do) == ("fail", True)


async def test_an_older_schema_says_what_to_run(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    async with database.transaction() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    await database.close()
    found = await line(postgresql_url, "schema", WELL)
    assert (found.level, found.do) == ("fail", "Run: returns-service migrate")


async def test_b6_a_secret_whose_key_is_lost_or_old_says_what_to_do(sqlite_url: str) -> None:
    """The doctor's own database has no keys: what it finds sealed it can't open."""
    database = Database(sqlite_url, secret_keys=[b"a key of somebody's"])
    async with database.transaction() as tx:
        row, _ = await create_endpoint(tx, "https://shop.test/hook", ["*"], None)
    found = await line(sqlite_url, "secrets", WELL)
    assert (found.level, row.id in found.message, "RETURNS_SECRETS_KEY" in found.do) == ("fail", True, True)
    database.vault = Vault([b"another key", b"a key of somebody's"])
    async with database.reading() as tx:
        assert (await look_at_sealing(tx)).outdated == 1
    await database.close()


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("free, level", [(10**12, "ok"), (10**9, "warn"), (10**7, "fail")])
async def test_room_on_the_disk(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, free))
    assert (await line(sqlite_url, "disk", WELL)).level == level


async def test_a_database_that_a_full_disk_keeps_from_being_read_asks_for_room(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(_: Database) -> None:
        raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 0))
    monkeypatch.setattr(Database, "reading", reading)
    async with examined(sqlite_url, WELL) as lines:
        assert [(lines[name][0].level, "Make room" in lines[name][0].do) for name in ("database", "disk")] == [
            ("fail", True), ("fail", True),
        ]  # fmt: skip


async def test_what_waits_too_long(database_url: str) -> None:
    async with open_shop(database_url) as shop:
        made = await shop.create_approved_return()
        await shop.receive_parcel(made["id"])
        shop.clock.advance(15 * 86_400)
        lines = {f.name: f for f in await examine(shop.context.settings, shop.db, shop.context.gateway)}
        assert (lines["queue"].level, "1 refund," in lines["queue"].message) == ("fail", True)
        assert (lines["oldest_refund"].level, "15 days" in lines["oldest_refund"].message) == ("warn", True)


async def test_a_worker_that_never_ran_is_missed(database_url: str) -> None:
    async with open_shop(database_url) as shop:
        async with shop.db.transaction() as tx:
            await create_stripe_event(tx)
        shop.clock.advance(3601)
        lines = {f.name: f for f in await examine(shop.context.settings, shop.db, shop.context.gateway)}
        assert (lines["events"].level, "never read" in lines["events"].message) == ("warn", True)


async def test_a_wrong_policy_is_named_by_its_line(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("window_days = 30\n")
    assert (await line(sqlite_url, "policy", WELL, policy=file)).level == "ok"
    file.write_text("window_day = 30\n")
    found = await line(sqlite_url, "policy", WELL, policy=file)
    assert (found.level, "window_day" in found.message) == ("fail", True)


@pytest.mark.parametrize("url, level", [("http://127.0.0.1:9", "warn"), (None, "ok")])
async def test_our_own_address(sqlite_url: str, url: str | None, level: str) -> None:
    assert (await line(sqlite_url, "public_url", WELL, public_url=url)).level == level


async def test_the_simulator_is_well(database_url: str) -> None:
    async with open_shop(database_url) as shop:
        found = await examine(shop.context.settings, shop.db, shop.context.gateway)
        assert {finding.name for finding in found if finding.level != "ok"} == set(), found


def test_the_command_prints_lines_or_json_and_fails_where_one_does(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("STRIPE_", "RETURNS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    done = CliRunner().invoke(commands, ["doctor"], standalone_mode=False)
    assert done.exit_code == 1
    assert "fail  stripe_key: No key is set." in done.stdout
    assert f"ok    schema: At {schema.head()}." in done.stdout
    told = json.loads(CliRunner().invoke(commands, ["doctor", "--json"], standalone_mode=False).stdout)
    assert told["level"] == "fail"
    assert {"name", "level", "message", "do"} == set(told["lines"][0])
    monkeypatch.setenv("RETURNS_RATE_LIMIT", "many")
    wrong = json.loads(CliRunner().invoke(commands, ["doctor", "--json"], standalone_mode=False).stdout)
    assert [(finding["name"], finding["level"]) for finding in wrong["lines"]] == [("settings", "fail")]


def test_the_worst_line_counts() -> None:
    assert worst([Finding("a", "ok", ""), Finding("b", "warn", ""), Finding("c", "ok", "")]) == "warn"
    assert worst([]) == "ok"


async def test_admins_see_the_same_lines_as_a_page(sqlite_url: str) -> None:
    async with open_shop(sqlite_url) as shop, open_desk(shop) as desk:
        await add_person(shop, "admin")
        await desk.sign_in("admin@shop.test")
        page = await desk.get("/settings/health")
        assert page.status_code == 200
        assert "All is well" in page.text
        found = await examine(shop.context.settings, shop.db, shop.context.gateway)
        for finding in (one for one in found if one.name not in ("database", "disk")):  # their figures move
            assert escape(finding.message) in page.text


def test_the_page_has_words_for_every_line() -> None:
    """A name of two words is a label's key; those of one word are shown as they are."""
    code = Path(str(doctor.__file__)).read_text(encoding="utf-8")
    names = set(re.findall(r'Finding\(\s*"(\w+)"', code))
    assert len(names) > 10
    assert {name for name in names if "_" in name} == set(LABELS)
