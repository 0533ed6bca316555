"""The command that checks everything and says what to do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import rich_click as click

from returns_service import settings
from returns_service.cli.output import json_option, log_quietly, run
from returns_service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from returns_service.doctor import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check settings, database, Stripe, webhooks, clock and disk; each line says what to do. Exit 1 if one fails.

    Example: returns-service doctor --json
    """
    from returns_service import doctor

    try:
        loaded = settings.load()
    except SettingsError as error:
        findings = [doctor.Finding("settings", "fail", str(error), "Correct this setting, then run doctor again.")]
    else:
        findings = [doctor.Finding("settings", "ok", "All settings can be read."), *run(_examine(loaded))]
    if as_json:
        click.echo(json.dumps(doctor.as_json(findings), ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(
                f"{click.style(f'{finding.level:4}', COLOURS[finding.level])}  {finding.name}: {finding.message}"
            )
            if finding.do:
                click.echo(f"      {finding.do}")
    if doctor.worst(findings) == "fail":
        sys.exit(1)


async def _examine(loaded: Settings) -> list[Finding]:
    from returns_service.doctor import Finding, examine
    from returns_service.identity_provider import provider_of
    from returns_service.wiring import database_of, open_gateway

    log_quietly(loaded)
    try:
        database = database_of(loaded)
    except SettingsError as error:
        return [Finding("database", "fail", str(error), "Correct DATABASE_URL, then run doctor again.")]
    gateway = open_gateway(loaded) if loaded.stripe_secret_key is not None else None
    unset: list[Finding] = []
    try:
        provider = provider_of(loaded)
    except SettingsError as error:
        provider, unset = None, [Finding("sign_in_provider", "fail", str(error), "Then run doctor again.")]
    try:
        return [*await examine(loaded, database, gateway, provider), *unset]
    finally:
        if provider is not None:
            await provider.close()
        if gateway is not None:
            await gateway.close()
        await database.close()
