"""An identity as the provider tells it, and the role that its groups give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from returns_service.domain.vocabulary import Role

LONGEST_SUBJECT: Final = 255  # characters, as OpenID Connect bounds it


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as their provider knows them. Issuer and subject together never change and are never given anew."""

    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False  # the provider has seen that the address is theirs
    name: str | None = None
    groups: tuple[str, ...] = ()
    id_token: str = field(default="", repr=False)  # as it came; some providers end their session by it alone


def role_by_groups(groups: Sequence[str], pairs: Sequence[tuple[str, Role]]) -> tuple[str, Role] | None:
    """Return the first pair of group and role whose group is among `groups`; None where none is."""
    return next(((group, role) for group, role in pairs if group in groups), None)
