"""The explanation of one thing on the desk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from returns_service.domain.vocabulary import DeskAction


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one thing waits, and what to do.

    `actions`: POST them to /v1/refunds/{refund}/…, or to /v1/returns/{return}/… without one.
    """

    code: str
    message: str
    advice: str
    actions: Sequence[DeskAction] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
