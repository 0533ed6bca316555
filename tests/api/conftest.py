"""The application as it is served, over both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, open_shop

# What these modules are about is decided before a statement is sent, by code that knows of no database, or in the
# answer afterwards: one of the two shows it. Hostile input, and money by rules whose statements others show on both,
# go to the one that takes less, PostgreSQL.
ON_ONE = {
    "test_access_log": "sqlite",
    "test_hostile_input": "postgresql",
    "test_keys_and_scopes": "sqlite",
    "test_long_bodies": "sqlite",
    "test_manners": "sqlite",
    "test_odd_money": "postgresql",
    "test_openapi": "sqlite",
    "test_order_shipping": "postgresql",
    "test_other_accounts": "postgresql",
    "test_paid_beside": "sqlite",
    "test_paid_otherwise": "sqlite",
    "test_partial_captures": "postgresql",
    "test_policy": "sqlite",
    "test_preconditions": "postgresql",
    "test_refund_windows": "postgresql",
    "test_snapshots": "sqlite",
    "test_stripe_ids": "sqlite",
    "test_taxes": "postgresql",
    "test_webhook_endpoints": "postgresql",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests on both databases, those of some modules on one."""
    if "database_url" in metafunc.fixturenames:
        one = ON_ONE.get(metafunc.module.__name__.rpartition(".")[2])
        metafunc.parametrize("database_url", [one] if one else ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh migrated database."""
    return str(request.getfixturevalue(f"{request.param}_url"))


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
