"""Commands about API keys."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import rich_click as click

from returns_service.cli.output import KEEP_IT, json_option, print_rows, with_database

if TYPE_CHECKING:
    from returns_service.store.database import Tx
    from returns_service.store.tables import ApiKey

UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds


def parse_span(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """Return a span of time, written `90m`, `1h`, `30d` or `4w`."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})([mhdw])", value)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{value!r} is no span like 90m, 1h, 30d or 4w")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


@click.group()
def keys() -> None:
    """Make, list and end API keys.

    Example: returns-service keys create --name shop --scope returns:read
    """


@keys.command("create")
@click.option("--name", required=True, help="Whose key it is, for people.")
@click.option("--scope", "scopes", multiple=True, required=True, help="May be given several times; `admin` is all.")
@click.option("--owner", metavar="EMAIL", help="Its person: with two keys, or a key and a sign-in, still one approver.")
@click.option("--expires-in", callback=parse_span, metavar="SPAN", help="How long it is in force: 1h, 30d.")
@json_option
def keys_create(
    name: str, scopes: tuple[str, ...], owner: str | None, expires_in: timedelta | None, as_json: bool
) -> None:
    """Make a key; its secret is shown once.

    Example: returns-service keys create --name shop --scope returns:read --scope returns:write --expires-in 30d
    """
    from returns_service.commands.api_keys import create_key
    from returns_service.commands.staff_users import user_by_email

    async def create(tx: Tx) -> tuple[ApiKey, str, bool]:
        row, secret = await create_key(tx, name, scopes, tx.now + expires_in if expires_in else None, owner=owner)
        return row, secret, row.owner is None or await user_by_email(tx, row.owner) is not None

    row, secret, is_known = with_database(create)
    print_key(row, secret, as_json=as_json)
    if not is_known:  # mistyped, it would be a second person for two-person approval
        click.echo(f"No user has the address {row.owner}: the key counts as a person of its own.", err=True)


def print_key(row: ApiKey, secret: str, *, as_json: bool) -> None:
    """Print a new key, with its secret."""
    shown = {**key_row(row), "secret": secret}
    click.echo(json.dumps(shown) if as_json else f"{row.id}  {secret}\n{KEEP_IT}")


def key_row(row: ApiKey) -> dict[str, Any]:
    """Return a key as it is printed, without its secret."""
    from returns_service.return_case.views import rfc3339

    return {
        "id": row.id,
        "name": row.name,
        "owner": row.owner,
        "scopes": row.scopes,
        "created": rfc3339(row.created_at),
        "last_used": rfc3339(row.last_used_at),
        "expires_at": rfc3339(row.expires_at),
        "revoked": rfc3339(row.revoked_at),
    }


@keys.command("list")
@json_option
def keys_list(as_json: bool) -> None:
    """List all keys.

    Example: returns-service keys list --json
    """
    from returns_service.commands.api_keys import list_keys

    rows = [key_row(row) for row in with_database(list_keys)]
    print_rows(rows, as_json, empty="No keys yet. Make one: returns-service keys create --name shop --scope admin")


@keys.command("rotate")
@click.argument("key_id")
@click.option(
    "--overlap",
    callback=parse_span,
    default="24h",
    show_default=True,
    metavar="SPAN",
    help="How long the old key stays in force.",
)
@json_option
def keys_rotate(key_id: str, overlap: timedelta, as_json: bool) -> None:
    """Make a key like an old one; the old one stays in force for a while, so that no call fails meanwhile.

    Example: returns-service keys rotate key_01k… --overlap 1h
    """
    from returns_service.commands.api_keys import rotate_key

    print_key(*with_database(lambda tx: rotate_key(tx, key_id, overlap)), as_json=as_json)


@keys.command("revoke")
@click.argument("key_id")
def keys_revoke(key_id: str) -> None:
    """Put a key out of force, at once and for good.

    Example: returns-service keys revoke key_01k…
    """
    from returns_service.commands.api_keys import revoke_key

    row = with_database(lambda tx: revoke_key(tx, key_id))
    click.echo(f"{row.id} ({row.name}) is revoked.")
