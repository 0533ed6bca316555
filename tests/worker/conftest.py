"""A shop on the simulated Stripe, in process, over both databases, on a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from returns_service.store.database import Database
from tests.harness.shop import Shop
from tests.harness.webhook_receivers import WebhookReceivers


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    made = Shop(database_url)
    yield made
    await made.close()


@pytest.fixture
def database(shop: Shop) -> Database:
    return shop.db


@pytest.fixture
def receivers(shop: Shop) -> WebhookReceivers:
    return WebhookReceivers(shop.db)
