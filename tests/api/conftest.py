"""The application as it is served, over both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, open_shop


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[ServedShop]:
    """The service over each of the two databases."""
    async with open_shop(database_url) as shop:
        yield shop


@pytest.fixture
def with_policy(shop: ServedShop) -> Any:
    """Return a function that changes the policy in force."""

    def change(**changes: Any) -> None:
        shop.policy = shop.context.policy = replace(shop.context.policy, **changes)

    return change
