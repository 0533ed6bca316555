"""How health is answered."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class HealthView(Struct):
    """It is alive."""

    status: Literal["ok"]


class MissingPartView(Struct):
    """A part that is missing or in need of a person, with the remedy."""

    what: str
    do: str


class ReadinessView(Struct):
    """Whether it is ready."""

    status: Literal["ready", "not_ready"]
    missing: list[MissingPartView]
    warnings: list[MissingPartView] | UnsetType = UNSET  # requests are served; a person has to act all the same
