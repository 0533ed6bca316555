"""The table of the policies that were in force. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from returns_service.store.columns import StoredRow, json_object, utc


class PolicyVersion(StoredRow, table=True):
    """The rules that a policy said, once however often they were in force; the id is made of the rules."""

    __tablename__ = "policy_version"

    id: str = Field(primary_key=True)
    policy: dict[str, Any] = json_object()
    first_in_force_at: datetime = utc()
