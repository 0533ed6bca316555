"""Logs: one line an event on stderr, with every secret replaced."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from returns_service.settings import Settings

API_KEY = re.compile(r"rsk_[\w-]{20,}")
SIGNING_SECRET = re.compile(r"whsec_[\w+/=-]{20,}")


def set_up_logs(settings: Settings) -> None:
    """Log one line an event to stderr, as JSON off a terminal; secrets of the settings never appear."""
    given = (settings.stripe_secret_key, settings.oidc_client_secret, *settings.stripe_webhook_secret)
    secrets = [secret.get_secret_value() for secret in given if secret]
    on_terminal = settings.log == "console" or (settings.log == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        lambda _logger, _name, event: mask(event, secrets),
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


def mask(event: MutableMapping[str, Any], secrets: list[str]) -> MutableMapping[str, Any]:
    """Return the log event with every secret of the settings, and every key of ours, replaced in its texts."""
    for name, value in event.items():
        if isinstance(value, str):
            text = value
            for secret in secrets:
                text = text.replace(secret, "***")
            event[name] = SIGNING_SECRET.sub("whsec_***", API_KEY.sub("rsk_***", text))
    return event
