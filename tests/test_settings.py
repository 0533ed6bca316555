"""The environment: what is read, what is refused, and in which words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from returns_service.settings import Settings, SettingsError, describe_settings, load, variable

LIVE = "sk_live_" + "x"
TEST = "sk_test_" + "x"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no `.env` of the machine reaches these tests."""
    for name in list(os.environ):
        if name.upper().startswith(("RETURNS_", "STRIPE_", "DATABASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Return the one line with which this environment is refused."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message


def test_the_defaults_need_no_environment() -> None:
    settings = load()
    assert settings.database_url == "sqlite:///returns.db"
    assert settings.stripe_secret_key is None
    assert not settings.livemode
    assert (settings.stripe_budget, settings.rate_limit, settings.idempotency_hours) == (20, 100, 24)


@pytest.mark.parametrize(
    "given, taken",
    [
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?ssl=require"),
        ("postgresql+asyncpg://postgres@/d?host=/run/pg", "postgresql+asyncpg://postgres@/d?host=/run/pg"),
        ("postgresql://u:p#?/@h/d", "postgresql+asyncpg://u:p#?/@h/d"),
        ("sqlite:///data/returns.db", "sqlite:///data/returns.db"),
        ("sqlite:////var/returns.db", "sqlite:////var/returns.db"),
        ("sqlite+aiosqlite:///returns.db", "sqlite:///returns.db"),
    ],
)
def test_the_usual_database_addresses_are_taken(monkeypatch: pytest.MonkeyPatch, given: str, taken: str) -> None:
    monkeypatch.setenv("DATABASE_URL", given)
    assert load().database_url == taken


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "returns.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql:/h/d"]
)
def test_a_database_we_cannot_use_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    message = refusal(monkeypatch, DATABASE_URL=url)
    assert message.startswith("DATABASE_URL: ")
    assert "Set it like DATABASE_URL=postgresql://" in message


@pytest.mark.parametrize(
    "url, named",
    [
        ("postgresql://u:hush@h/d?sslmode=require&channel_binding=require", "'channel_binding'"),
        ("postgresql://u:hush@h:port/d", "read"),
    ],
)
def test_an_address_that_the_driver_would_not_take_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str, named: str
) -> None:
    message = refusal(monkeypatch, DATABASE_URL=url)
    assert message.startswith("DATABASE_URL: ")
    assert named in message
    assert "hush" not in message


@pytest.mark.parametrize(
    "name, value",
    [
        ("STRIPE_SECRET_KEY", "pk_test_" + "x"),
        ("STRIPE_SECRET_KEY", "sk_test_" + "x y"),
        ("STRIPE_WEBHOOK_SECRET", "we_1"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_a,sk_test_" + "x"),
        ("STRIPE_API_BASE", "localhost:12111"),
        ("STRIPE_API_BASE", "http://h:99999"),
        ("STRIPE_API_BASE", "http://h:port"),
        ("RETURNS_PUBLIC_URL", "returns.example.com"),
        ("RETURNS_POLICY", "missing.toml"),
        ("RETURNS_STRIPE_BUDGET", "0"),
        ("RETURNS_STRIPE_BUDGET", "nan"),
        ("RETURNS_RATE_LIMIT", "many"),
        ("RETURNS_WEBHOOKS_ALLOW_PRIVATE", "perhaps"),
        ("RETURNS_DATABASE_POOL", "0"),
        ("RETURNS_WORKER_CONCURRENCY", "1.5"),
        ("RETURNS_SHUTDOWN_SECONDS", "-1"),
        ("RETURNS_STATEMENT_TIMEOUT_SECONDS", "soon"),
        ("RETURNS_LOG", "xml"),
        ("RETURNS_LOG_LEVEL", "loud"),
        ("RETURNS_IDEMPOTENCY_HOURS", "23"),
        ("RETURNS_INBOX_DAYS", "3"),
    ],
)
def test_a_wrong_value_is_named_with_the_way_to_set_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    message = refusal(monkeypatch, **{name: value})
    assert message.startswith(f"{name}: ")
    assert f"Set it like {name}=" in message


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, RETURNS_RATE_LIMIT="x", RETURNS_LOG="xml")
    assert "RETURNS_RATE_LIMIT: " in message
    assert "RETURNS_LOG: " in message


def test_a_refused_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hush" not in refusal(monkeypatch, STRIPE_SECRET_KEY="hush", STRIPE_WEBHOOK_SECRET="pk_hush")


@pytest.mark.parametrize("prefix", ["sk", "rk"])
@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:12111", "https://localhost", "https://notstripe.com", "http://api.stripe.com"]
)
def test_a_live_key_goes_to_stripe_alone(monkeypatch: pytest.MonkeyPatch, prefix: str, base: str) -> None:
    message = refusal(monkeypatch, STRIPE_SECRET_KEY=prefix + "_live_" + "x", STRIPE_API_BASE=base)
    assert message.startswith("STRIPE_API_BASE: a live key")


def test_a_live_key_with_stripes_own_address_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", LIVE)
    monkeypatch.setenv("STRIPE_API_BASE", "https://api.stripe.com/")
    settings = load()
    assert settings.livemode
    assert settings.stripe_api_base == "https://api.stripe.com"


def test_a_test_key_may_go_to_the_simulator() -> None:
    settings = load(stripe_secret_key=TEST, stripe_api_base="http://127.0.0.1:12111")
    assert not settings.livemode


@pytest.mark.parametrize(
    "name, meant",
    [
        ("RETURNS_RATELIMIT", "RETURNS_RATE_LIMIT"),
        ("RETURNS_WEBHOOK_ALLOW_PRIVATE", "RETURNS_WEBHOOKS_ALLOW_PRIVATE"),
        ("returns_polcy", "RETURNS_POLICY"),
    ],
)
def test_a_misspelt_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    message = refusal(monkeypatch, **{name: "1"})
    assert message.startswith(f"{name}: ")
    assert f"did you mean {meant}?" in message


def test_a_misspelt_name_in_the_env_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RETURNS_LOGLEVEL=debug\n")
    assert "did you mean RETURNS_LOG_LEVEL?" in refusal(monkeypatch)


def test_an_unreadable_env_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"RETURNS_LOG=\xff\xfe")
    assert refusal(monkeypatch).startswith(".env: ")


def test_the_environment_goes_before_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RETURNS_RATE_LIMIT=7\nRETURNS_INBOX_DAYS=9\n")
    monkeypatch.setenv("RETURNS_RATE_LIMIT", "8")
    settings = load()
    assert (settings.rate_limit, settings.inbox_days) == (8, 9)
    assert load(rate_limit=11).rate_limit == 11


def test_names_without_our_prefix_are_nobodys_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "error")
    monkeypatch.setenv("RATE_LIMIT", "5")
    settings = load()
    assert (settings.log_level, settings.rate_limit) == ("info", 100)


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in describe_settings():
        monkeypatch.setenv(setting.name, "")
    assert load() == Settings()


def test_webhook_secrets_rotate_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_new, whsec_old,")
    assert [s.get_secret_value() for s in load().stripe_webhook_secret] == ["whsec_new", "whsec_old"]


def test_serving_needs_key_and_webhook_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^STRIPE_SECRET_KEY: missing\..*STRIPE_SECRET_KEY=sk_test_…$"):
        load().require_stripe()
    monkeypatch.setenv("STRIPE_SECRET_KEY", TEST)
    with pytest.raises(SettingsError, match=r"^STRIPE_WEBHOOK_SECRET: missing\."):
        load().require_stripe()
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_x")
    load().require_stripe()


def test_no_secret_shows_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush@h/d")
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_" + "hush")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_hush")
    settings = load()
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().rate_limit = 1


def test_every_setting_is_described_once() -> None:
    lines = describe_settings()
    assert {line.name for line in lines} == {variable(field) for field in Settings.model_fields}
    assert lines[0].name == "DATABASE_URL"
    assert len({line.name for line in lines}) == len(lines)
    for line in lines:
        assert line.description.endswith(".")


def test_the_described_defaults_are_the_ones_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load()
    for line in describe_settings():
        if line.default:
            monkeypatch.setenv(line.name, line.default)
    assert load() == plain


def test_mail_to_staff_is_off_by_default_and_its_addresses_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().staff_mail == ()
    addresses = "a@shop.test, b@shop.test"
    assert "RETURNS_SMTP" in refusal(monkeypatch, RETURNS_STAFF_MAIL=addresses)
    server = {"RETURNS_SMTP": "smtp://mail.shop.test:587", "RETURNS_MAIL_FROM": "returns@shop.test"}
    assert "e-mail address" in refusal(monkeypatch, RETURNS_STAFF_MAIL="nobody", **server)
    monkeypatch.setenv("RETURNS_STAFF_MAIL", addresses)
    assert load().staff_mail == ("a@shop.test", "b@shop.test")
