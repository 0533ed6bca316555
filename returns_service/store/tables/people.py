"""Tables of the people and programs that act: API keys and staff."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from returns_service.domain.vocabulary import ROLES, Role, Scope
from returns_service.store.columns import json_object, one_of, utc, word


class ApiKey(SQLModel, table=True):
    """An API key with its scopes. Only a hash of the secret is kept."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)
    name: str
    secret_hash: str = Field(unique=True)  # SHA-256 of 256 random bits
    scopes: list[Scope] = json_object(list)
    created_at: datetime = utc()
    expires_at: datetime | None = utc(nullable=True)
    revoked_at: datetime | None = utc(nullable=True)
    last_used_at: datetime | None = utc(nullable=True)


class StaffUser(SQLModel, table=True):
    """Somebody who signs in to the pages."""

    __tablename__ = "staff_user"
    __table_args__ = (one_of("role", ROLES, "role"),)

    id: str = Field(primary_key=True)
    email: str = Field(unique=True)
    role: Role = word()
    password_hash: str | None = None
    created_at: datetime = utc()
    disabled_at: datetime | None = utc(nullable=True)
