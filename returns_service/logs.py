"""Logs: one line an event on stderr, with every secret replaced."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from returns_service.settings import Settings

OURS = r"(?P<kind>rsk_|whsec_)[\w+/=-]{20,}"  # keys that callers send, and secrets that sign


def set_up_logs(settings: Settings) -> None:
    """Log one line an event to stderr, as JSON off a terminal; secrets of the settings never appear."""
    hidden = pattern_of(secrets_in(settings))
    on_terminal = settings.log == "console" or (settings.log == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(write_exception),
        lambda _logger, _name, event: mask(event, hidden),
    ]
    last: Any = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    plain = structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=shared)
    handler.setFormatter(plain)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def secrets_in(settings: Settings) -> list[str]:
    """Return every secret of the settings, the longest first: one may be a part of another."""
    values = [value for _, value in settings]
    each = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    found = (one.get_secret_value() for one in each if isinstance(one, SecretStr))
    return sorted(filter(None, found), key=len, reverse=True)


def write_exception(exc_info: Any) -> str:
    """Return the traceback of an exception, `(type, value, traceback)`.

    A database's error comes without its cause: the driver's own words quote the row that was refused, a customer's.
    """
    error: BaseException | None = exc_info[1]
    while error is not None and not isinstance(error, DBAPIError):
        error = error.__cause__ or error.__context__
    return "".join(traceback.format_exception(*exc_info, chain=error is None)).rstrip("\n")


def pattern_of(secrets: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of what no log shows: these secrets, and all that look like ours."""
    return re.compile("|".join([*map(re.escape, secrets), OURS]))


def mask(event: MutableMapping[str, Any], hidden: re.Pattern[str]) -> MutableMapping[str, Any]:
    """Return the log event with all that is `hidden` replaced in its texts."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = hidden.sub(lambda found: f"{found['kind'] or ''}***", value)
    return event
