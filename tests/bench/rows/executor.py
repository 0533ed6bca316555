"""Refunds a second of one worker: against Stripe's ceiling of writes a second, at slow and at instant answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.result import Row
from tests.bench.send import Sent, measure_sending

CEILING = 100  # writes a second that Stripe takes in live mode (https://docs.stripe.com/rate-limits)
UNBOUNDED = 500  # a budget that no worker comes near
REFUNDS = 1500


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Send refunds: the ceiling is no noise, so each pace is measured once, however many rounds are asked for."""
    paced = await measure_sending(1, REFUNDS, CEILING, latency_seconds=0.3)
    on_round()
    instant = await measure_sending(1, REFUNDS, UNBOUNDED, latency_seconds=0.0)
    on_round()
    return [row_of("300 ms answers", paced, 0.95), row_of("instant answers", instant, 1.8)]


def row_of(variant: str, sent: Sent, aim: float) -> Row:
    """Return a rate as a share of Stripe's ceiling."""
    ratio = sent.a_second / CEILING
    return Row(
        "executor", "refunds/s", ratio, sent.a_second, CEILING, ratio, ratio, 1, variant, aim,
        {"most_in_a_second": sent.most_in_a_second, "sent_twice": sent.sent_twice, "cpu_ms_a_refund": sent.cpu_ms},
    )  # fmt: skip
