"""The loop that the gateway's tests run in."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
