"""What years do to each look: the same shop with 20,000 returns against itself with 1,000, on both databases.

`python -m tests.bench.growth --returns 1000000` measures larger ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.growth import measure_growth
from tests.bench.result import Row

AIM = 1 / 1.5
RETURNS = 20_000


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare each look at the larger shop with the same look at the smaller one."""
    found = await measure_growth([RETURNS], ["sqlite", "postgresql"], rounds=rounds)
    on_round()
    return [
        Row(
            "growth", "CPU ms", row["ratio"], row["ours"], row["reference"], row["ratio"], row["ratio"], rounds,
            f"{row['what']}, {row['database']}", AIM, {"p50_ms": row["p50_ms"]},
        )
        for row in found if row["returns"] == RETURNS
    ]  # fmt: skip
