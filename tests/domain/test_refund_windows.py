"""A9: how long each method of payment can be refunded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from returns_service.domain.refund_windows import REFUND_DAYS, refund_deadline, refund_warning
from returns_service.stripe_simulator.methods import OTHER_TYPES

PAID = datetime(2026, 1, 10, 12, tzinfo=UTC)


def test_two_readings_of_stripes_pages_agree() -> None:
    """A9: the simulator's table was written apart from this one."""
    assert {n: m.refund_days for n, m in OTHER_TYPES.items() if m.refund_days is not None} == REFUND_DAYS


@pytest.mark.parametrize(
    "method,days_later,code",
    [
        ("oxxo", 0, "method_not_refundable"),
        ("boleto", 900, "method_not_refundable"),
        ("fpx", 45, None),
        ("fpx", 47, "refund_window_ends_soon"),
        ("fpx", 60, "refund_window_ends_soon"),
        ("fpx", 60.01, "refund_window_over"),
        ("sepa_debit", 181, "refund_window_over"),
        ("card", 900, None),
        ("klarna", 900, None),
        (None, 900, None),
    ],
)
def test_a_warning_comes_before_the_end_and_stays(method: str | None, days_later: float, code: str | None) -> None:
    """A9: never a word about methods without a documented limit."""
    warning = refund_warning(method, PAID, PAID + timedelta(days=days_later))
    assert (warning.code if warning else None) == code


def test_the_days_run_from_the_charge() -> None:
    """A9."""
    assert refund_deadline("alipay", PAID) == PAID + timedelta(days=90)
    assert [refund_deadline(method, PAID) for method in ("oxxo", "card", None)] == [None, None, None]
    assert refund_deadline("alipay", None) is None
