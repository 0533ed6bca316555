"""Commands about people: staff, and the dock's shared devices."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import rich_click as click

from returns_service import settings
from returns_service.cli.output import KEEP_IT, json_option, print_rows, stop, with_database
from returns_service.domain.vocabulary import ROLES

if TYPE_CHECKING:
    from returns_service.store.database import Tx
    from returns_service.store.tables import ApiKey, StaffUser

BY_THE_COMMAND_LINE = "cli"


def read_password(_: click.Context, __: click.Parameter, wanted: bool) -> str | None:
    """Return the password's hash, the password being the first line of stdin."""
    if not wanted:
        return None
    from returns_service.commands.passwords import hash_password

    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError:
        raise click.BadParameter("what stdin holds is not UTF-8") from None
    return hash_password(line.rstrip("\r\n"))


password_option = click.option(
    "--password-stdin", "password_hash", is_flag=True, callback=read_password, help="Read a password from stdin."
)
role_option = click.option("--role", type=click.Choice(ROLES), help="What the person may do.")
name_option = click.option("--name", help="The person's name, as colleagues see it.")


@click.group()
def users() -> None:
    """Add, list and disable the staff who sign in to the pages.

    Example: returns-service users add mara@example.com --role warehouse
    """


@users.command("add")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the person may do.")
@name_option
@password_option
@json_option
def users_add(email: str, role: str, name: str | None, password_hash: str | None, as_json: bool) -> None:
    """Add a person. Prints a link that signs them in once, within 15 minutes, unless a password is read.

    Example: returns-service users add mara@example.com --role warehouse
    """
    from returns_service.commands.staff_users import add_user, make_link

    async def add(tx: Tx) -> tuple[StaffUser, str | None]:
        row = await add_user(tx, email, role, name=name, password_hash=password_hash)
        return row, await make_link(tx, row, BY_THE_COMMAND_LINE) if password_hash is None else None

    row, token = with_database(add)
    print_user(row, token, as_json=as_json)


def print_user(row: StaffUser, token: str | None, *, as_json: bool) -> None:
    """Print a person, with the link that signs them in where there is one."""
    link = link_of(token) if token is not None else None
    if as_json:
        click.echo(json.dumps({**user_row(row), "sign_in": link}))
        return
    click.echo(f"{row.email} is here as {row.role}.")
    if link is not None:
        click.echo(f"Signs in once, within 15 minutes: {link}")


def link_of(token: str) -> str:
    """Return the address that a sign-in token belongs to."""
    base = settings.load().public_url or "http://127.0.0.1:8000"
    return f"{base}/sign-in/link/{token}"


def user_row(row: StaffUser) -> dict[str, Any]:
    """Return a person as they are printed."""
    from returns_service.return_case.views import rfc3339

    return {
        "id": row.id,
        "email": row.email,
        "name": row.name,
        "role": row.role,
        "role_from": f"group {row.role_group}" if row.role_group is not None else "people here",
        "password": row.password_hash is not None,
        "subject": row.oidc_subject,
        "badge": row.badge_hash is not None,
        "pin": row.pin_hash is not None,
        "created": rfc3339(row.created_at),
        "disabled": rfc3339(row.disabled_at),
    }


@users.command("list")
@json_option
def users_list(as_json: bool) -> None:
    """List all people.

    Example: returns-service users list --json
    """
    from returns_service.commands.staff_users import list_users

    rows = [user_row(row) for row in with_database(list_users)]
    print_rows(rows, as_json, empty="Nobody yet. Add one: returns-service users add you@example.com --role admin")


@users.command("change")
@click.argument("email")
@role_option
@name_option
@password_option
@click.option("--subject", help="Who the person is at the sign-in provider; '' lets their verified address say so.")
def users_change(
    email: str, role: str | None, name: str | None, password_hash: str | None, subject: str | None
) -> None:
    """Change a person's role, name or password. A role counts from the next click on; a new password signs out.

    Example: returns-service users change mara@example.com --role approver
    """
    from returns_service.commands.provider_sign_in import bind_subject
    from returns_service.commands.staff_users import change_user

    if role is None and name is None and password_hash is None and subject is None:
        stop("Say what changes: --role, --name, --password-stdin or --subject")
    issuer = settings.load().oidc_issuer
    if subject and issuer is None:
        stop("A subject is one of a provider. First set RETURNS_OIDC_ISSUER")

    async def change(tx: Tx) -> StaffUser:
        row = await change_user(tx, email, role=role, name=name, password_hash=password_hash)
        return row if subject is None else await bind_subject(tx, email, issuer or "", subject or None)

    print_user(with_database(change), None, as_json=False)


@users.command("link")
@click.argument("email")
@json_option
def users_link(email: str, as_json: bool) -> None:
    """Print a link that signs a person in once, within 15 minutes: for a forgotten password.

    Example: returns-service users link mara@example.com
    """
    from returns_service.commands.staff_users import existing_user, make_link

    async def make(tx: Tx) -> tuple[StaffUser, str]:
        row = await existing_user(tx, email)
        if row.disabled_at is not None:
            stop(f"{row.email} is disabled. First: returns-service users enable {row.email}")
        return row, await make_link(tx, row, BY_THE_COMMAND_LINE)

    print_user(*with_database(make), as_json=as_json)


@users.command("badge")
@click.argument("email")
@json_option
def users_badge(email: str, as_json: bool) -> None:
    """Print the digits of a new badge, to be printed as a barcode; an older badge is worth nothing.

    Example: returns-service users badge mara@example.com
    """
    from returns_service.commands.staff_users import give_badge

    row, badge = with_database(lambda tx: give_badge(tx, email))
    click.echo(json.dumps({"email": row.email, "badge": badge}) if as_json else f"{badge}\n{KEEP_IT}")


@users.command("pin")
@click.argument("email")
@json_option
def users_pin(email: str, as_json: bool) -> None:
    """Print a new PIN. It works on approved devices only, and only for receiving.

    Example: returns-service users pin mara@example.com
    """
    from returns_service.commands.passwords import hash_pin
    from returns_service.commands.staff_users import PIN_DIGITS, give_pin
    from returns_service.commands.tokens import new_digits

    pin = new_digits(PIN_DIGITS)
    pin_hash = hash_pin(pin)
    row = with_database(lambda tx: give_pin(tx, email, pin_hash))
    click.echo(json.dumps({"email": row.email, "pin": pin}) if as_json else f"{pin}\n{KEEP_IT}")


@users.command("disable")
@click.argument("email")
def users_disable(email: str) -> None:
    """Let a person in no more, and end their sessions, at once. Their API keys, which programs may use, are named.

    Example: returns-service users disable mara@example.com
    """
    from returns_service.commands.api_keys import keys_of_person
    from returns_service.commands.staff_users import disable_user

    async def work(tx: Tx) -> tuple[StaffUser, list[ApiKey]]:
        row = await disable_user(tx, email)
        return row, await keys_of_person(tx, row.email)

    row, keys = with_database(work)
    click.echo(f"{row.email} is disabled; all sessions are ended.")
    for key in keys:
        click.echo(f"The key {key.name} stays in force. To end it: returns-service keys revoke {key.id}")


@users.command("enable")
@click.argument("email")
def users_enable(email: str) -> None:
    """Let a disabled person in again; badge and PIN are given anew.

    Example: returns-service users enable mara@example.com
    """
    from returns_service.commands.staff_users import enable_user

    row = with_database(lambda tx: enable_user(tx, email))
    click.echo(f"{row.email} may sign in again.")


@click.group()
def devices() -> None:
    """Shared devices of the dock, where badges and PINs work.

    Example: returns-service devices list
    """


@devices.command("list")
@json_option
def devices_list(as_json: bool) -> None:
    """List all devices.

    Example: returns-service devices list --json
    """
    from returns_service.commands.devices import list_devices
    from returns_service.return_case.views import rfc3339

    rows = [
        {
            "id": row.id,
            "name": row.name,
            "asked": rfc3339(row.created_at),
            "approved": rfc3339(row.approved_at),
            "revoked": rfc3339(row.revoked_at),
            "last_seen": rfc3339(row.seen_at),
        }
        for row in with_database(list_devices)
    ]
    print_rows(rows, as_json, empty="No devices yet. Open /sign-in/device on one, and name it.")


@devices.command("approve")
@click.argument("device_id")
def devices_approve(device_id: str) -> None:
    """Let badges and PINs work on a device.

    Example: returns-service devices approve dev_01k…
    """
    from returns_service.commands.devices import approve_device

    row = with_database(lambda tx: approve_device(tx, device_id, BY_THE_COMMAND_LINE))
    click.echo(f"{row.id} ({row.name}) is approved: badges and PINs work there.")


@devices.command("revoke")
@click.argument("device_id")
def devices_revoke(device_id: str) -> None:
    """Put a device out of use, at once and for good.

    Example: returns-service devices revoke dev_01k…
    """
    from returns_service.commands.devices import revoke_device

    row = with_database(lambda tx: revoke_device(tx, device_id))
    click.echo(f"{row.id} ({row.name}) is revoked.")
