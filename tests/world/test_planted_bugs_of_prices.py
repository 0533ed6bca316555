"""Bugs planted where conditions cost a fee: the world of more prices finds each."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from returns_service.domain import money
from returns_service.return_case.case import ReturnCase
from returns_service.store.tables import Refund
from tests.world.planting import Bugs, Patch, find, listed_in
from tests.world.prices import PricedWorld

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
BUGS: Bugs = {}
bug = listed_in(BUGS)


@bug("a fee that is not taken off", "it is worth")
def _(patch: Patch) -> None:
    patch.setattr(money, "restocking_fee", lambda line, terms: 0)


@bug("a label that is taken off with each refund", "taken off for a label of")
def _(patch: Patch) -> None:
    def without_label(self: ReturnCase, refunds: Iterable[Refund] | None = None) -> list[money.Row]:
        return [row for row in committed_rows(self, refunds) if row.kind != "label"]

    committed_rows = ReturnCase.committed_rows
    patch.setattr(ReturnCase, "committed_rows", without_label)


@pytest.mark.parametrize("name", BUGS)
def test_the_world_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find(name, BUGS, monkeypatch, PricedWorld)
