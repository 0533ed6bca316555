"""A process that was frozen: what it sends no more takes no moment of others."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.worker.refunds import RefundExecutor, ScheduledCall
from tests.harness.shop import Shop


@pytest.mark.parametrize("now, overran_seconds", [(5.0, 4.0), (100.0, 0.0)])
async def test_a_call_whose_lease_is_over_pushes_nobody_back(shop: Shop, now: float, overran_seconds: float) -> None:
    claim: Any = None
    executor = RefundExecutor(shop.db, shop.gateway, monotonic=lambda: now)
    scheduled = ScheduledCall(claim, wait_seconds=0.0, not_after=30.0, moment=1.0)
    assert executor.reserve_moment(scheduled) == 0.0
    assert executor.overran_seconds == pytest.approx(overran_seconds, abs=0.05)
