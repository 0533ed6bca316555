"""Settings of a process by itself: what it logs, where its traces go, by which way it is woken."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from returns_service.addresses import POSTGRESQL, is_address, postgresql_address
from returns_service.sign_in_settings import SignInSettings

COUNTS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the metrics library's own word: processes keep their counters in it


class ProcessSettings(SignInSettings):
    """What `Settings` inherits about processes."""

    log: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="Form of the log: `json`, `console`, or `auto`: `console` on a terminal, else `json`.",
        examples=["json"],
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="The least that is logged: `debug`, `info`, `warning` or `error`.",
        examples=["info"],
    )
    otel_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where traces are sent, by OTLP over HTTP; needs `returns-service[otel]`. Unset: none are made.",
        examples=["http://127.0.0.1:4318"],
    )
    database_listen_url: str | None = Field(
        default=None,
        repr=False,  # it may hold a password
        description="PostgreSQL's own address, where `DATABASE_URL` is that of a pooler in transaction mode: workers "
        "are woken over it. Unset: over `DATABASE_URL`.",
        examples=["postgresql://returns:PASSWORD@localhost/returns"],
    )

    @field_validator("log", "log_level", mode="before")
    @classmethod
    def _any_case(cls, word: object) -> object:
        return word.lower() if isinstance(word, str) else word

    @field_validator("otel_endpoint")
    @classmethod
    def _collector(cls, url: str | None) -> str | None:
        if url is not None and not is_address(url):
            raise ValueError("must be an address such as http://127.0.0.1:4318")
        return url.rstrip("/") if url else None

    @field_validator("database_listen_url")
    @classmethod
    def _server(cls, url: str | None) -> str | None:
        if url is None:
            return None
        address = postgresql_address(url)
        if not address.startswith(POSTGRESQL):
            raise ValueError("must be postgresql:// with a database")
        return address
