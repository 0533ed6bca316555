"""Addresses that operators set: of a database as its driver takes it, of a server as a browser does."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

POSTGRESQL = "postgresql+asyncpg://"
# asyncpg's, as far as a text can say them; and one of SQLAlchemy's, for a pgbouncer in between.
_DRIVER_WORDS = (
    "host", "port", "user", "password", "passfile", "database", "ssl", "target_session_attrs",
    "krbsrvname", "gsslib", "service", "servicefile", "prepared_statement_cache_size",
)  # fmt: skip


def postgresql_address(url: str) -> str:
    """Return an address as the driver takes it, where it is one of PostgreSQL; else as it is.

    Raises ValueError for words that the driver would raise a TypeError for.
    """
    url = re.sub(r"^postgres(ql)?(\+asyncpg)?://", POSTGRESQL, url)
    if not url.startswith(POSTGRESQL):
        return url
    url = re.sub(r"([?&])sslmode=", r"\1ssl=", url)  # libpq's word, as hosting providers print it
    try:
        words = make_url(url).query
    except (ArgumentError, ValueError):  # a port that is no number
        raise ValueError("can't be read") from None
    if unknown := sorted(set(words) - set(_DRIVER_WORDS)):
        raise ValueError(f"holds {unknown[0]!r}, which the driver doesn't know; take it out")
    return url


def is_address(url: str) -> bool:
    """Return whether this is an http or https address without credentials, query or fragment."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        return False
    return usable and not parts.query and not parts.fragment and parts.username is None
