"""A shop with an empty ledger."""

from __future__ import annotations

import pytest

from tests.simulator.shop import Shop


@pytest.fixture
def shop() -> Shop:
    return Shop()
