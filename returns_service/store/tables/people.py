"""Tables of the people and programs that act: API keys, staff, their sessions, devices, links and saved views.

No table holds a secret: of each token only the SHA-256 of its 256 random bits, of each password its argon2 hash.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field

from returns_service.domain.vocabulary import ROLES, WAYS, Role, Scope, Way
from returns_service.store.columns import StoredRow, defer_foreign_keys, json_object, one_of, utc, word


class ApiKey(StoredRow, table=True):
    """An API key with its scopes. Only a hash of the secret is kept."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)
    name: str
    # The e-mail address of its person. A key without one is a person of its own; its successors name that key here.
    owner: str | None = None
    first_id: str | None = None  # the key that this one came from by rotation: both repeat the same requests
    secret_hash: str = Field(unique=True)
    scopes: list[Scope] = json_object(list)
    created_at: datetime = utc()
    expires_at: datetime | None = utc(nullable=True)
    revoked_at: datetime | None = utc(nullable=True)
    last_used_at: datetime | None = utc(nullable=True)


class StaffUser(StoredRow, table=True):
    """Somebody who signs in to the pages."""

    __tablename__ = "staff_user"
    __table_args__ = (
        one_of("role", ROLES, "role"),
        Index("uq_staff_user_oidc", "oidc_issuer", "oidc_subject", unique=True),
    )

    id: str = Field(primary_key=True)
    email: str = Field(unique=True)  # in lower case
    name: str | None = None
    role: Role = word()
    role_group: str | None = None  # the provider's group that gave the role; None: a person gave it
    oidc_issuer: str | None = None  # the provider that has seen this person,
    oidc_subject: str | None = None  # and who they are there, for good
    password_hash: str | None = None  # argon2id; None: signs in by link
    badge_hash: str | None = Field(default=None, unique=True, index=True)
    pin_hash: str | None = Field(default=None, unique=True, index=True)
    created_at: datetime = utc()
    disabled_at: datetime | None = utc(nullable=True)


class StaffSession(StoredRow, table=True):
    """One sign-in, from its beginning to its end. The browser holds the token, this row its hash."""

    __tablename__ = "staff_session"
    __table_args__ = (one_of("way", WAYS, "way"),)

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="staff_user.id", index=True)
    device_id: str | None = Field(default=None, foreign_key="device.id", index=True)
    token_hash: str = Field(unique=True)
    way: Way = word()  # how the person showed who they are
    user_agent: str | None = None
    address: str | None = None
    created_at: datetime = utc()
    seen_at: datetime = utc()
    expires_at: datetime = utc(index=True)
    ended_at: datetime | None = utc(nullable=True)

    @property
    def receiving_only(self) -> bool:
        """Whether the person came by badge or PIN, which open the dock alone."""
        return self.way in ("badge", "pin")


class Device(StoredRow, table=True):
    """A shared device of the dock. Once approved, badges and PINs open it for receiving."""

    __tablename__ = "device"

    id: str = Field(primary_key=True)
    name: str
    token_hash: str = Field(unique=True)
    wrong_codes: int = 0  # since the last right one
    created_at: datetime = utc()
    seen_at: datetime | None = utc(nullable=True)
    approved_at: datetime | None = utc(nullable=True)
    approved_by: str | None = None
    revoked_at: datetime | None = utc(nullable=True)


class SignInLink(StoredRow, table=True):
    """A link that signs its person in, once and within minutes."""

    __tablename__ = "sign_in_link"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="staff_user.id", index=True)
    token_hash: str = Field(unique=True)
    reusable: bool = False  # the demo's: it shows the pages to whoever started it
    created_by: str
    created_at: datetime = utc()
    expires_at: datetime = utc(index=True)
    used_at: datetime | None = utc(nullable=True)


class SignInThrottle(StoredRow, table=True):
    """How often an account, an address or a device was tried in vain, and when last."""

    __tablename__ = "sign_in_throttle"

    subject: str = Field(primary_key=True)  # a hash: people type passwords into the wrong field
    tries: int
    tried_at: datetime = utc(index=True)


class SavedView(StoredRow, table=True):
    """Filters of the list of returns under a name, for one person."""

    __tablename__ = "saved_view"
    __table_args__ = (Index("uq_saved_view_name", "user_id", "name", unique=True),)

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="staff_user.id")
    name: str
    filters: dict[str, str] = json_object()  # the parameters of the list's address
    created_at: datetime = utc()


defer_foreign_keys("saved_view")
