"""The environment as one frozen object: every setting, its default and what it is for.

Values come from environment variables, then from a `.env` file in the working directory. A wrong one stops
the start with one line that names it and says how to set it; a misspelt `RETURNS_*` name is an error too,
since a setting that silently isn't in force is worse than a service that doesn't start.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import NoDecode, SettingsConfigDict

from returns_service.addresses import POSTGRESQL, is_address, postgresql_address
from returns_service.process_settings import ProcessSettings
from returns_service.shop_settings import ShopSettings
from returns_service.sign_in_settings import SignInSettings

PREFIX = "RETURNS_"
ENV_FILE = ".env"
_KEY = re.compile(r"(sk|rk)_(test|live)_\S+")
_OTHER_KINDS = (
    "sk_",
    "rk_",
    "pk_",
    "we_",
)  # prefixes of keys that people paste by mistake where a signing secret belongs


class SettingsError(ValueError):
    """A setting is wrong or missing; the message is one line that names it and says how to set it."""


class Described(NamedTuple):
    """One line of the documentation's settings table."""

    name: str
    default: str
    description: str


class Settings(ProcessSettings):
    """All settings, checked. Secrets don't show in `repr()`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    database_url: str = Field(
        default="sqlite:///returns.db",
        validation_alias="DATABASE_URL",
        repr=False,  # it may hold a password
        description="Where the data is kept: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.",
        examples=["postgresql://returns:PASSWORD@localhost/returns"],
    )
    stripe_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="STRIPE_SECRET_KEY",
        description='Stripe\'s secret key, or a restricted one with the permissions that the part "Stripe" lists.',
        examples=["sk_test_…"],
    )
    stripe_webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        validation_alias="STRIPE_WEBHOOK_SECRET",
        description="Signing secret of Stripe's webhook endpoint; several, by commas, while rotating.",
        examples=["whsec_…"],
    )
    stripe_account: str | None = Field(
        default=None,
        validation_alias="STRIPE_ACCOUNT",
        description="Our account's id at Stripe; events of others are ignored. Unset: asked of Stripe at the start.",
        examples=["acct_…"],
    )
    stripe_api_base: str | None = Field(
        default=None,
        validation_alias="STRIPE_API_BASE",
        description="Another address for Stripe's API: the simulator, a proxy. Unset: Stripe itself.",
        examples=["http://127.0.0.1:12111"],
    )
    policy: Path | None = Field(
        default=None,
        description="The return policy, a TOML file (`returns-service policy example`). Unset: the default.",
        examples=["policy.toml"],
    )
    public_url: str | None = Field(
        default=None,
        description="Where browsers reach the service, for links. Unset: the address it listens on.",
        examples=["https://returns.example.com"],
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of reverse proxies, by commas, whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed. None: nobody's, not even this machine's.",
        examples=["10.0.0.5,172.16.0.0/12"],
    )
    stripe_budget: float = Field(
        default=20,
        gt=0,
        le=1000,
        description="Writes to Stripe per second, over all workers; Stripe's own limit is 25 an endpoint.",
        examples=["20"],
    )
    stripe_calls: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Calls to Stripe that requests to one web may have under way at once; beyond it they get 503.",
        examples=["50"],
    )
    rate_limit: int = Field(
        default=100,
        ge=1,
        description="Requests per second one API key may make; bursts may be three times that.",
        examples=["100"],
    )
    connections: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Connections one web holds at once; another one gets 503.",
        examples=["2000"],
    )
    streams: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Live streams of events one web holds at once; another one gets 429.",
        examples=["500"],
    )
    streams_per_key: int = Field(
        default=20,
        ge=1,
        le=100_000,
        description="Of these, those of one API key, or of one session of the pages.",
        examples=["20"],
    )
    header_bytes: int = Field(
        default=65_536,
        ge=1024,
        le=1_048_576,
        description="Bytes that a request's line and headers may have.",
        examples=["65536"],
    )
    header_seconds: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="Seconds within which a request's headers must have come.",
        examples=["10"],
    )
    body_seconds: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="Seconds within which a request's body must have come, and an answer must be taken on.",
        examples=["30"],
    )
    idle_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="Seconds a connection is kept without a request. A proxy in front should close its own sooner.",
        examples=["60"],
    )
    webhooks_allow_private: bool = Field(
        default=False,
        description="Let outgoing webhooks go to plain http, loopback and private addresses.",
        examples=["1"],
    )
    database_pool: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="PostgreSQL connections a process keeps at most.",
        examples=["10"],
    )
    worker_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Refunds one worker has under way at once. Unset: 32 for each core.",
        examples=["32"],
    )
    shutdown_seconds: float = Field(
        default=25,
        ge=0,
        le=3600,
        description="Seconds that requests and calls under way get to finish after SIGTERM.",
        examples=["25"],
    )
    statement_timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="Seconds after which PostgreSQL ends a statement; one that hangs is left 5 s later.",
        examples=["30"],
    )
    idempotency_hours: int = Field(
        default=24,
        ge=24,  # what the API promises
        le=24 * 365,
        description="Hours an Idempotency-Key and its answer are kept; at least 24.",
        examples=["24"],
    )
    inbox_days: int = Field(
        default=30,
        ge=4,  # Stripe sends an event again for up to three days
        le=3650,
        description="Days Stripe's events are kept after they were taken in; at least 4.",
        examples=["30"],
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        url = re.sub(r"^sqlite\+aiosqlite://", "sqlite://", postgresql_address(url))
        if url.startswith(POSTGRESQL):
            return url
        path = url.removeprefix("sqlite:///")
        if path in ("", url) or path.startswith((":memory:", "?")):
            raise ValueError("must be sqlite:/// with a file, or postgresql:// with a database")
        return url

    @field_validator("stripe_secret_key")
    @classmethod
    def _secret_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not _KEY.fullmatch(key.get_secret_value()):
            raise ValueError("must be a secret key: sk_test_…, sk_live_…, rk_test_… or rk_live_…")
        return key

    @field_validator("stripe_webhook_secret", "trusted_proxies", mode="before")
    @classmethod
    def _by_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("stripe_webhook_secret")
    @classmethod
    def _signing_secrets(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in (s.get_secret_value() for s in secrets):
            if not secret or secret.startswith(_OTHER_KINDS) or len(secret.split()) != 1:
                raise ValueError("must be the endpoint's signing secret, whsec_…, not a key or an id")
        return secrets

    @field_validator("stripe_account")
    @classmethod
    def _account(cls, account: str | None) -> str | None:
        if account is not None and not re.fullmatch(r"acct_\w+", account):
            raise ValueError("must be the account's id, acct_…, as Stripe's Dashboard shows it")
        return account

    @field_validator("stripe_api_base", "public_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not is_address(url):
            raise ValueError("must be an address such as https://host or http://127.0.0.1:12111")
        return url.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(f"{proxy!r} is no address and no network such as 172.16.0.0/12") from None
        return proxies

    @field_validator("policy")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {str(path)!r}")
        return path

    @model_validator(mode="after")
    def _live_key_for_stripe_alone(self) -> Settings:
        if self.livemode and self.stripe_api_base is not None:
            parts = urlsplit(self.stripe_api_base)
            host = parts.hostname or ""
            if parts.scheme != "https" or not (host == "stripe.com" or host.endswith(".stripe.com")):
                raise ValueError(
                    f"STRIPE_API_BASE: a live key is never sent to another host than Stripe ({host!r}); "
                    "unset STRIPE_API_BASE, or set STRIPE_SECRET_KEY=sk_test_…"
                )
        return self

    @property
    def livemode(self) -> bool:
        """Whether the Stripe key moves real money."""
        key = self.stripe_secret_key
        return key is not None and "_live_" in key.get_secret_value()[:8]

    def require_stripe(self) -> None:
        """Raise SettingsError unless key and webhook secret are set, as `serve` and `worker` need."""
        if self.stripe_secret_key is None:
            raise SettingsError(
                "STRIPE_SECRET_KEY: missing. Copy it from Stripe's Dashboard (Developers, API keys): "
                "STRIPE_SECRET_KEY=sk_test_…"
            )
        if not self.stripe_webhook_secret:
            raise SettingsError(
                "STRIPE_WEBHOOK_SECRET: missing. Copy the signing secret of the endpoint /webhooks/stripe "
                "from Stripe's Dashboard (Developers, Webhooks): STRIPE_WEBHOOK_SECRET=whsec_…"
            )


def variable(field: str) -> str:
    """Return the environment variable that sets `field`. Raises KeyError for an unknown field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def describe_settings() -> list[Described]:
    """Return what the documentation's table says of every setting, in its order."""
    lines = []
    # A class's own fields come behind those it inherits; a reader looks for the database before the shop's colour.
    inherited = [each.model_fields for each in (ShopSettings, SignInSettings, ProcessSettings)]
    own_first = sorted(Settings.model_fields.items(), key=lambda item: [item[0] in fields for fields in inherited])
    for name, field in own_first:
        default = "" if field.default in (None, ()) else str(field.default).removesuffix(".0")
        if isinstance(field.default, bool):
            default = str(int(field.default))
        lines.append(Described(variable(name), default, field.description or ""))
    return lines


def load(**overrides: Any) -> Settings:
    """Return the settings in force; `overrides`, by field, go before the environment.

    Raises SettingsError, its message one line, when a value is wrong or a `RETURNS_*` name is unknown.
    """
    _refuse_misspelt()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_one_line(e) for e in error.errors(include_url=False))) from None


def _refuse_misspelt() -> None:
    known = [variable(field) for field in Settings.model_fields]
    try:
        in_file = dotenv_values(ENV_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{ENV_FILE}: can't be read ({error}). Make it a readable UTF-8 file.") from None
    for name in (*os.environ, *in_file):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)
            raise SettingsError(f"{name}: there is no such setting. Unset it; did you mean {near[0]}?")


def _one_line(error: ErrorDetails) -> str:
    words = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if not error["loc"]:
        return words
    name = str(error["loc"][0])
    fields = {variable(f): field for f, field in Settings.model_fields.items()}
    name = name if name in fields else variable(name.lower())
    example = (fields[name].examples or [""])[0]
    return f"{name}: {words[0].lower()}{words[1:]}. Set it like {name}={example}"
