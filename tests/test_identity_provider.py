"""The provider's settings, the doctor's line about it, and what neither may do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

import returns_service
from returns_service.cli import commands
from returns_service.doctor import Finding, examine
from returns_service.domain.identity import role_by_groups
from returns_service.domain.provider_attempt import ProviderAttempt, read_attempt
from returns_service.identity_provider import find_claim, provider_of
from returns_service.logs import mask, pattern_of
from returns_service.settings import Settings, SettingsError, load
from returns_service.store.clock import machine_time
from returns_service.store.database import Database
from tests.harness.deployment import clean_environment
from tests.harness.oidc_provider import CLIENT_SECRET, ISSUER, FakeProvider

WHOLE = {"OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": "returns", "OIDC_CLIENT_SECRET": CLIENT_SECRET}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no `.env` of the machine reaches these tests."""
    for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "ROLES"):
        monkeypatch.delenv(f"RETURNS_OIDC_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def set_all(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"RETURNS_{name}", value)


def whole(**changes: Any) -> Settings:
    given: dict[str, Any] = {
        "oidc_issuer": ISSUER, "oidc_client_id": "returns", "oidc_client_secret": SecretStr(CLIENT_SECRET),
        "public_url": "https://returns.shop.test",
    }  # fmt: skip
    return Settings(**given | changes)


def test_roles_are_pairs_and_the_first_that_fits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **WHOLE, OIDC_ROLES="cn=boss,ou=x=admin; Returns Dock = warehouse;")
    pairs = load().oidc_roles
    assert pairs == (("cn=boss,ou=x", "admin"), ("Returns Dock", "warehouse"))
    assert role_by_groups(["Returns Dock", "cn=boss,ou=x"], pairs) == ("cn=boss,ou=x", "admin")
    assert role_by_groups(["returns dock", ""], pairs) is None


@pytest.mark.parametrize(
    "left_out, changed, message",
    [
        ("OIDC_CLIENT_SECRET", {}, "RETURNS_OIDC_CLIENT_SECRET: missing"),
        ("OIDC_CLIENT_ID", {}, "RETURNS_OIDC_CLIENT_ID: missing"),
        ("OIDC_ISSUER", {}, "RETURNS_OIDC_ISSUER: missing"),
        ("", {"OIDC_ISSUER": "http://login.shop.test"}, "must be an https address"),
        ("", {"OIDC_ISSUER": "https://login.shop.test/?tenant=1"}, "must be an https address"),
        ("", {"OIDC_SCOPE": "email"}, "must name openid"),
        ("", {"OIDC_ROLES": "boss=chief"}, "must be 'warehouse', 'approver', 'finance' or 'admin'"),
        ("", {"OIDC_ROLES": "admin"}, "must be pairs"),
    ],
)
def test_half_or_wrong_settings_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, left_out: str, changed: dict[str, str], message: str
) -> None:
    set_all(monkeypatch, **{name: value for name, value in (WHOLE | changed).items() if name != left_out})
    with pytest.raises(SettingsError) as refused:
        load()
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert CLIENT_SECRET not in str(refused.value)


@pytest.mark.parametrize("name, value", [("OIDC_ROLES", "a=admin"), ("PASSWORD_SIGN_IN", "0")])
def test_without_a_provider_nobody_is_locked_out(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    set_all(monkeypatch, **{name: value})
    with pytest.raises(SettingsError, match=name):
        load()


def test_the_secret_is_shown_nowhere() -> None:
    settings = whole()
    provider = provider_of(settings)
    assert provider is not None
    assert CLIENT_SECRET not in repr(settings) + repr(provider) + repr(vars(settings))
    assert mask({"event": f"x {CLIENT_SECRET}"}, pattern_of([CLIENT_SECRET]))["event"] == "x ***"


def test_what_a_process_needs_beside_the_settings_is_said_at_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider_of(Settings()) is None
    with pytest.raises(SettingsError, match="RETURNS_PUBLIC_URL: missing"):
        provider_of(whole(public_url=None))
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(SettingsError, match=r"pip install 'returns-service\[oidc\]'"):
        provider_of(whole())
    assert provider_of(Settings()) is None, "nobody needs the package who has no provider"


def test_a_start_imports_nothing_of_it() -> None:
    code = "import sys, returns_service.identity_provider; print([one for one in sys.modules if 'joserfc' in one])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    assert done.stdout.strip() == "[]"
    rooms = [path for path in Path(returns_service.__file__).parent.rglob("*.py") if "import joserfc" in (
        path.read_text().replace("from joserfc", "import joserfc"))]  # fmt: skip
    assert [path.name for path in rooms] == ["identity_provider.py"]


async def line_of(sqlite_url: str, fake: FakeProvider) -> Finding:
    """Return the doctor's line about a provider."""
    database, provider = Database(sqlite_url), fake.client()
    try:
        found = await examine(Settings(), database, None, provider)
    finally:
        await database.close()
        await provider.close()
    return next(one for one in found if one.name == "sign_in_provider")


async def test_the_doctor_reads_discovery_and_keys(sqlite_url: str) -> None:
    line = await line_of(sqlite_url, FakeProvider())
    assert (line.level, line.do) == ("ok", "")
    assert "with 1 key; it has to send people back to http://shop.test/sign-in/provider/callback" in line.message


@pytest.mark.parametrize(
    "wrong, message, todo",
    [
        ({"broken": httpx.ConnectError("no")}, "ConnectError", "Check the way"),
        ({"broken": httpx.Response(500)}, "answers 500", "Check the way"),
        ({"metadata": {"issuer": f"{ISSUER}/"}}, f"calls itself '{ISSUER}/'", "a / at its end included"),
        ({"metadata": {"jwks_uri": None}}, "names no jwks_uri", "RETURNS_OIDC_ISSUER"),
        ({"published": []}, "holds no key that can be used", "RETURNS_OIDC_ISSUER"),
    ],
)
async def test_the_doctor_says_what_to_do(sqlite_url: str, wrong: dict[str, Any], message: str, todo: str) -> None:
    line = await line_of(sqlite_url, FakeProvider(**wrong))
    assert line.level == "fail"
    assert message in line.message
    assert todo in line.do


def test_the_doctors_command_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    set_all(monkeypatch, **WHOLE)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    told = CliRunner().invoke(commands, ["doctor", "--json"])
    lines = {line["name"]: line for line in json.loads(told.stdout)["lines"]}
    assert "RETURNS_PUBLIC_URL: missing" in lines["sign_in_provider"]["message"]
    assert told.exit_code == 1


@pytest.mark.parametrize(
    "claims, found",
    [({"a.b": 1, "a": {"b": 2}}, 1), ({"a": {"b": 2}}, 2), ({"a": 5}, None), ({"a": {"b": {}}}, {}), ({}, None)],
)
def test_a_claims_name_may_hold_dots_or_lead_by_them(claims: dict[str, Any], found: Any) -> None:
    assert find_claim(claims, "a.b") == found


@pytest.mark.parametrize(
    "cookie",
    ["", ".", "..", "a.b.c", "a.1", "a.-1.", "a.².", "a.1.é", "a.1.____", f"a.{'9' * 300}.", "a" * 5000 + ".1."],
)
def test_a_cookie_that_is_none_fits_no_answer(cookie: str) -> None:
    attempt = read_attempt(cookie)
    assert attempt is None or not attempt.is_answered_by("", machine_time())


def test_state_nonce_and_verifier_tell_nothing_of_each_other() -> None:
    attempt = ProviderAttempt("s" * 43, 1_800_000_000, "/returns?view=a b&c=ü")
    assert read_attempt(attempt.to_cookie()) == attempt
    drawn = {attempt.state, attempt.nonce, attempt.verifier}
    assert len(drawn) == 3
    assert all(len(word) == 64 and attempt.secret not in word for word in drawn)
