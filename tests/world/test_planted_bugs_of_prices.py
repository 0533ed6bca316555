"""Bugs planted where conditions cost a fee: the world of more prices finds each."""

from __future__ import annotations

import pytest

from returns_service.domain import money
from tests.world.planting import Bugs, Patch, find, listed_in
from tests.world.prices import PricedWorld

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
BUGS: Bugs = {}
bug = listed_in(BUGS)


@bug("a fee that is not taken off", "it is worth")
def _(patch: Patch) -> None:
    patch.setattr(money, "restocking_fee", lambda line, terms: 0)


@pytest.mark.parametrize("name", BUGS)
def test_the_world_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find(name, BUGS, monkeypatch, PricedWorld)
