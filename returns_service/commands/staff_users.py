"""Staff: added, changed, disabled; their links to sign in, their badges and PINs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, update
from sqlmodel import col, select

from returns_service.commands.sessions import end_sessions
from returns_service.commands.tokens import LONGEST_TOKEN, hash_token, new_digits, new_token
from returns_service.domain.problems import Problem
from returns_service.domain.roles import RECEIVE, allows, scopes_of
from returns_service.domain.vocabulary import ROLES, Role, find_word
from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey, SignInLink, StaffUser

LINK_LIVES: Final = timedelta(minutes=15)
BADGE_DIGITS: Final = 20  # 66 bits
PIN_DIGITS: Final = 6
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_LONGEST_EMAIL: Final = 320
LONGEST_NAME: Final = 100


def normalize_email(text: str) -> str:
    """Return an e-mail address in the one form in which it is kept. Raises Problem invalid_request."""
    email = text.strip().casefold()
    if not _EMAIL.fullmatch(email) or len(email) > _LONGEST_EMAIL or not email.isprintable():
        raise Problem("invalid_request", "Give an e-mail address, for example mara@example.com.", param="email")
    return email


async def add_user(
    tx: Tx, email: str, role: str, *, name: str | None = None, password_hash: str | None = None
) -> StaffUser:
    """Return the new person's row. Raises Problem invalid_request, also where the address is taken."""
    email = normalize_email(email)
    if await user_by_email(tx, email) is not None:
        raise Problem("invalid_request", f"There is a user {email} already.", param="email")
    row = StaffUser(
        id=tx.new_id("usr"),
        email=email,
        name=_checked_name(name),
        role=_checked_role(role),
        password_hash=password_hash,
        created_at=tx.now,
    )
    tx.add(row)
    await tx.flush()
    return row


async def change_user(
    tx: Tx, email: str, *, role: str | None = None, name: str | None = None, password_hash: str | None = None
) -> StaffUser:
    """Change what is given; a new role counts from the next request on, a new password ends all sessions.

    Raises Problem not_found or invalid_request.
    """
    row = await existing_user(tx, email)
    if role is not None:
        row.role, row.role_group = _checked_role(role), None
    if name is not None:
        row.name = _checked_name(name)
    if password_hash is not None:
        row.password_hash = password_hash
        await end_sessions(tx, row.id)
    return row


async def disable_user(tx: Tx, email: str) -> StaffUser:
    """Let a person in no more: sessions end, links, badge and PIN are worth nothing. Raises Problem not_found."""
    row = await existing_user(tx, email)
    row.disabled_at = row.disabled_at or tx.now
    row.badge_hash = row.pin_hash = None
    await end_sessions(tx, row.id)
    return row


async def enable_user(tx: Tx, email: str) -> StaffUser:
    """Let a disabled person in again, with the old password and without badge and PIN. Raises Problem not_found."""
    row = await existing_user(tx, email)
    row.disabled_at = None
    return row


async def list_users(tx: Tx) -> list[StaffUser]:
    """Return all people, oldest first."""
    return list((await tx.exec(select(StaffUser).order_by(col(StaffUser.id)))).all())


async def user_by_email(tx: Tx, email: str) -> StaffUser | None:
    """Return the person with this address, None if there is none; a disabled one is returned too."""
    email = email.strip().casefold()
    if not email.isprintable() or len(email) > _LONGEST_EMAIL:  # people type anything at the sign-in
        return None
    return (await tx.exec(select(StaffUser).where(col(StaffUser.email) == email))).first()


async def existing_user(tx: Tx, email: str) -> StaffUser:
    """Return the person with this address, a disabled one too. Raises Problem not_found."""
    row = await user_by_email(tx, email)
    if row is None:
        raise Problem("not_found", f"There is no user {email}.")
    return row


async def user_by_id(tx: Tx, user_id: str) -> StaffUser:
    """Return a person, a disabled one too. Raises Problem not_found."""
    row = await tx.get(StaffUser, user_id)
    if row is None:
        raise Problem("not_found", f"There is no user {user_id}.")
    return row


async def user_by_code(tx: Tx, *, badge: str | None = None, pin_hash: str | None = None) -> StaffUser | None:
    """Return the person who may work and has this badge or PIN."""
    chosen = (
        col(StaffUser.badge_hash) == hash_token(badge)
        if badge is not None
        else col(StaffUser.pin_hash) == (pin_hash or "")
    )
    return (await tx.exec(select(StaffUser).where(chosen, col(StaffUser.disabled_at).is_(None)))).first()


async def give_badge(tx: Tx, email: str) -> tuple[StaffUser, str]:
    """Return the person and the digits of a new badge; an older badge is worth nothing. Raises Problem."""
    row, badge = await _receiving_user(tx, email), new_digits(BADGE_DIGITS)
    row.badge_hash = hash_token(badge)
    await tx.flush()
    return row, badge


async def give_pin(tx: Tx, email: str, pin_hash: str) -> StaffUser:
    """Give a person a PIN that nobody else has. Raises Problem, also where somebody has it."""
    row = await _receiving_user(tx, email)
    other = await user_by_code(tx, pin_hash=pin_hash)
    if other is not None and other.id != row.id:
        raise Problem("invalid_request", "This PIN is taken. Try again: the next one is another.", param="pin")
    row.pin_hash = pin_hash
    await tx.flush()
    return row


async def make_link(tx: Tx, user: StaffUser, created_by: str, *, reusable: bool = False) -> str:
    """Return the token of a new link that signs the person in: within 15 minutes, once.

    `reusable`: as often as wanted, for a year. Only the demo makes such links, and only the demo's service takes them.
    """
    token = new_token()
    tx.add(
        SignInLink(
            id=tx.new_id("lnk"),
            user_id=user.id,
            token_hash=hash_token(token),
            reusable=reusable,
            created_by=created_by,
            created_at=tx.now,
            expires_at=tx.now + (timedelta(days=365) if reusable else LINK_LIVES),
        )
    )
    await tx.flush()
    return token


async def link_in_force(tx: Tx, token: str, *, reusable: bool = False) -> tuple[SignInLink, StaffUser] | None:
    """Return an unused link and its person; None for one that is used, over, or of somebody disabled.

    `reusable`: whether links that work more than once are taken, which are refused otherwise.
    """
    if not 0 < len(token) <= LONGEST_TOKEN:
        return None
    chosen = select(SignInLink).where(
        col(SignInLink.token_hash) == hash_token(token),
        col(SignInLink.expires_at) > tx.now,
        _usable(reusable=reusable),
    )
    link = (await tx.exec(chosen)).first()
    user = await tx.get(StaffUser, link.user_id) if link is not None else None
    return (link, user) if link is not None and user is not None and user.disabled_at is None else None


async def use_link(tx: Tx, token: str, *, reusable: bool = False) -> StaffUser | None:
    """Take a link and return its person; of two who take one at once, one gets None. `reusable`: as `link_in_force`."""
    present = await link_in_force(tx, token, reusable=reusable)
    if present is None:
        return None
    link, user = present
    unused = (col(SignInLink.id) == link.id) & _usable(reusable=reusable)
    taken = await tx.execute(update(SignInLink).where(unused).values(used_at=tx.now).returning(col(SignInLink.id)))
    return user if taken.first() is not None else None


def _usable(*, reusable: bool) -> ColumnElement[bool]:
    once = col(SignInLink.used_at).is_(None) & col(SignInLink.reusable).is_(False)
    return once | col(SignInLink.reusable) if reusable else once


async def persons_of(tx: Tx, actors: Sequence[str]) -> dict[str, str]:
    """Return the person behind each actor (`key_…`, `usr_…`): an e-mail address, else the actor itself.

    Two keys of one owner, or a key and a sign-in, are one person.
    """
    keys = select(ApiKey.id, ApiKey.owner).where(col(ApiKey.id).in_(actors), col(ApiKey.owner).is_not(None))
    users = select(StaffUser.id, StaffUser.email).where(col(StaffUser.id).in_(actors))
    emails = {actor: email for chosen in (keys, users) for actor, email in (await tx.execute(chosen)).all()}
    return {actor: emails.get(actor) or actor for actor in actors}


async def _receiving_user(tx: Tx, email: str) -> StaffUser:
    row = await existing_user(tx, email)
    if row.disabled_at is not None or not allows(scopes_of(row.role), RECEIVE):
        raise Problem(
            "invalid_request", f"{row.email} doesn't receive: badges and PINs are for the dock.", param="email"
        )
    return row


def _checked_role(role: str) -> Role:
    if known := find_word(ROLES, role):
        return known
    raise Problem("invalid_request", f"Roles are {', '.join(ROLES)}.", param="role")


def _checked_name(name: str | None) -> str | None:
    name = " ".join((name or "").split())
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise Problem("invalid_request", f"A name has at most {LONGEST_NAME} characters.", param="name")
    return name or None
