"""Sign-in by the provider: find the person by subject, else by verified address; add them where a group says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlmodel import col, select

from returns_service.commands.sessions import end_sessions
from returns_service.commands.staff_users import LONGEST_NAME, existing_user, normalize_email, user_by_email
from returns_service.domain.identity import LONGEST_SUBJECT, Identity, role_by_groups
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import Role
from returns_service.store.database import Tx, insert_ignore
from returns_service.store.tables import StaffUser

Refusal = Literal["disabled", "email_missing", "email_not_verified", "email_taken", "no_role", "unknown"]


async def admit(tx: Tx, who: Identity, pairs: Sequence[tuple[str, Role]]) -> StaffUser | Refusal:
    """Return the person, in the role that `pairs` of group and role give them; or why they aren't let in.

    Without a group among `pairs` the person keeps a role that somebody here gave them. A role that a group gave is over
    then, and all their sessions end.
    """
    given = role_by_groups(who.groups, pairs)
    user = await _user_of(tx, who) or await _user_by_verified_email(tx, who)
    if isinstance(user, str):
        return user
    if user is None:
        return await _add(tx, who, *given) if given is not None else "unknown"
    if user.disabled_at is not None:
        return "disabled"
    if pairs and given is None and user.role_group is not None:
        await end_sessions(tx, user.id)
        return "no_role"
    if given is not None:
        user.role_group, user.role = given
    user.oidc_issuer, user.oidc_subject = who.issuer, who.subject
    return user


async def bind_subject(tx: Tx, email: str, issuer: str, subject: str | None) -> StaffUser:
    """Bind a person to a subject of the provider by hand; None unbinds them: their verified address counts once more.

    Raises Problem not_found or invalid_request.
    """
    user = await existing_user(tx, email)
    if subject is None:
        user.oidc_issuer = user.oidc_subject = None
        return user
    if not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise Problem("invalid_request", f"A subject has at most {LONGEST_SUBJECT} characters.", param="subject")
    other = await _user_of(tx, Identity(issuer, subject))
    if other is not None and other.id != user.id:
        raise Problem("invalid_request", f"{other.email} is that subject already.", param="subject")
    user.oidc_issuer, user.oidc_subject = issuer, subject
    await tx.flush()
    return user


async def _user_of(tx: Tx, who: Identity) -> StaffUser | None:
    chosen = select(StaffUser).where(
        col(StaffUser.oidc_issuer) == who.issuer, col(StaffUser.oidc_subject) == who.subject
    )
    return (await tx.exec(chosen)).first()


async def _user_by_verified_email(tx: Tx, who: Identity) -> StaffUser | Refusal | None:
    if who.email is None:
        return "email_missing"
    if not who.email_verified:
        return "email_not_verified"
    user = await user_by_email(tx, who.email)
    # An address that is bound to another subject names nobody: its present owner is not the person who was added.
    if user is not None and user.oidc_issuer == who.issuer and user.oidc_subject != who.subject:
        return "email_taken"
    return user


async def _add(tx: Tx, who: Identity, group: str, role: Role) -> StaffUser | Refusal:
    try:
        email = normalize_email(who.email or "")
    except Problem:  # it is no address that can be kept
        return "email_missing"
    name = "".join(c for c in who.name or "" if c.isprintable())[:LONGEST_NAME]
    values = {
        "id": tx.new_id("usr"), "email": email, "name": name or None, "role": role, "role_group": group,
        "oidc_issuer": who.issuer, "oidc_subject": who.subject, "created_at": tx.now,
    }  # fmt: skip
    await insert_ignore(tx, StaffUser, values)  # of two first sign-ins at once one adds the person
    return await _user_of(tx, who) or "email_taken"
