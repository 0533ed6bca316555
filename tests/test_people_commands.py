"""`users`, `keys` and `devices` on the command line, over an SQLite file."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from returns_service.cli import commands
from returns_service.commands import devices
from returns_service.commands.staff_users import use_link
from returns_service.domain.problems import Problem
from returns_service.store.database import Database

Run = Callable[..., str]


@pytest.fixture
def run(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command and returns what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    def invoke(*words: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(commands, words, input=stdin, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return invoke


def test_a_person_is_added_with_a_link_that_signs_in_once(run: Run, sqlite_url: str) -> None:
    shown = json.loads(run("users", "add", "Mara@Shop.test", "--role", "warehouse", "--name", "Mara K", "--json"))
    assert (shown["email"], shown["role"], shown["name"], shown["password"]) == (
        "mara@shop.test", "warehouse", "Mara K", False,
    )  # fmt: skip
    token = re.fullmatch(r"http://127\.0\.0\.1:8000/sign-in/link/(\S+)", shown["sign_in"])
    assert token is not None

    async def use_twice() -> list[bool]:
        database = Database(sqlite_url)
        try:
            return [await database.run(lambda tx: use_link(tx, token[1])) is not None for _ in range(2)]
        finally:
            await database.close()

    assert asyncio.run(use_twice()) == [True, False]
    assert "/sign-in/link/" in run("users", "link", "mara@shop.test")


def test_a_password_is_read_from_stdin_and_shown_nowhere(run: Run) -> None:
    password = "correct horse battery"
    words = ("users", "add", "jide@shop.test", "--role", "finance", "--password-stdin", "--json")
    shown = json.loads(run(*words, stdin=password + "\n"))
    assert shown["password"] is True
    assert shown["sign_in"] is None
    assert password not in run("users", "list", "--json")
    with pytest.raises(Problem, match="at least 12"):
        run("users", "add", "ann@shop.test", "--role", "finance", "--password-stdin", stdin="short\n")


def test_a_person_is_changed_disabled_and_enabled(run: Run) -> None:
    def mara() -> dict[str, Any]:
        return dict(json.loads(run("users", "list", "--json"))[0])

    run("users", "add", "mara@shop.test", "--role", "warehouse")
    run("users", "change", "mara@shop.test", "--role", "admin", "--name", "Mara")
    assert (mara()["role"], mara()["name"]) == ("admin", "Mara")
    assert re.fullmatch(r"\d{20}", json.loads(run("users", "badge", "mara@shop.test", "--json"))["badge"])
    assert re.fullmatch(r"\d{6}", json.loads(run("users", "pin", "mara@shop.test", "--json"))["pin"])
    assert (mara()["badge"], mara()["pin"]) == (True, True)
    run("users", "disable", "mara@shop.test")
    assert (mara()["badge"], mara()["pin"]) == (False, False)
    assert mara()["disabled"] is not None
    with pytest.raises(SystemExit):
        run("users", "link", "mara@shop.test")
    run("users", "enable", "mara@shop.test")
    assert mara()["disabled"] is None


def test_who_is_disabled_leaves_keys_that_are_named(run: Run) -> None:
    run("users", "add", "mara@shop.test", "--role", "warehouse")
    for name in ("scanner", "old scanner"):
        run("keys", "create", "--name", name, "--scope", "receipts:write", "--owner", "Mara@shop.test", "--json")
    kept, gone = sorted(json.loads(run("keys", "list", "--json")), key=lambda key: str(key["name"]), reverse=True)
    run("keys", "revoke", gone["id"])
    said = run("users", "disable", "mara@shop.test")
    assert f"The key scanner stays in force. To end it: returns-service keys revoke {kept['id']}" in said
    assert gone["id"] not in said


def test_a_person_is_named_by_hand_at_the_provider(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def subjects() -> list[str | None]:
        return [row["subject"] for row in json.loads(run("users", "list", "--json"))]

    run("users", "add", "mara@shop.test", "--role", "warehouse")
    run("users", "add", "jide@shop.test", "--role", "finance")
    with pytest.raises(SystemExit):
        run("users", "change", "mara@shop.test", "--subject", "u-1")
    for name, value in (("ISSUER", "https://login.shop.test"), ("CLIENT_ID", "returns"), ("CLIENT_SECRET", "made up")):
        monkeypatch.setenv(f"RETURNS_OIDC_{name}", value)
    run("users", "change", "mara@shop.test", "--subject", "u-1")
    with pytest.raises(Problem, match="is that subject already"):
        run("users", "change", "jide@shop.test", "--subject", "u-1")
    assert subjects() == ["u-1", None]
    run("users", "change", "mara@shop.test", "--subject", "")
    run("users", "change", "jide@shop.test", "--subject", "u-1")
    assert subjects() == [None, "u-1"]
    assert {row["role_from"] for row in json.loads(run("users", "list", "--json"))} == {"people here"}


@pytest.mark.parametrize(
    "words, message",
    [
        (["users", "disable", "nobody@shop.test"], "no user"),
        (["users", "add", "no address", "--role", "admin"], "e-mail address"),
        (["keys", "create", "--name", "x", "--scope", "admin", "--owner", "me"], "e-mail address"),
        (["keys", "rotate", "key_none"], "no key"),
        (["devices", "approve", "dev_none"], "No device"),
        (["devices", "revoke", "dev_none"], "no device"),
    ],
)
def test_a_mistake_says_what_is_wrong(run: Run, words: list[str], message: str) -> None:
    with pytest.raises(Problem, match=message):
        run(*words)


def test_a_key_says_whose_it_is_and_when_it_ends(run: Run) -> None:
    words = ("--owner", "Mara@Shop.test", "--expires-in", "30d", "--json")
    shown = json.loads(run("keys", "create", "--name", "shop", "--scope", "returns:read", *words))
    assert shown["owner"] == "mara@shop.test"
    left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    newer = json.loads(run("keys", "rotate", shown["id"], "--overlap", "1h", "--json"))
    assert newer["secret"] != shown["secret"]
    listed = {key["id"]: key for key in json.loads(run("keys", "list", "--json"))}
    assert listed[newer["id"]]["owner"] == "mara@shop.test"
    left = datetime.fromisoformat(listed[shown["id"]]["expires_at"]) - datetime.now(UTC)
    assert left <= timedelta(hours=1)
    assert "secret" not in listed[newer["id"]]


@pytest.mark.parametrize("span", ["30", "0d", "-1h", "1y", "soon"])
def test_a_span_that_is_none_is_refused(run: Run, span: str) -> None:
    import click

    with pytest.raises(click.BadParameter, match="span"):
        run("keys", "create", "--name", "x", "--scope", "admin", "--expires-in", span)


def test_a_device_is_approved_and_revoked(run: Run, sqlite_url: str) -> None:
    async def ask() -> str:
        database = Database(sqlite_url)
        try:
            return (await database.run(lambda tx: devices.ask_for_device(tx, "Dock 2")))[0].id
        finally:
            await database.close()

    device = asyncio.run(ask())
    assert "approved" in run("devices", "approve", device)
    assert "revoked" in run("devices", "revoke", device)
    (row,) = json.loads(run("devices", "list", "--json"))
    assert (row["name"], row["approved"] is None, row["revoked"] is None) == ("Dock 2", False, False)
