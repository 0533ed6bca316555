"""What the load run tells: percentiles of what was measured, growth by thirds, sizes by the return."""

from __future__ import annotations

import pytest

from tests.bench.load_report import GIGABYTE, Load, Sample, write_report
from tests.bench.result import percentile


@pytest.mark.parametrize("share, value", [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_of_one_value_each_percentile_is_that_value() -> None:
    assert {percentile([7.0], share) for share in (0.0, 0.5, 0.99, 1.0)} == {7.0}


def test_the_report_tells_growth_and_size() -> None:
    samples = [
        Sample(at * 60.0, {"web": 100.0 + at}, queue=at % 2, database_bytes=at * GIGABYTE, wal_written=at << 20,
               wal_kept=16 << 20)
        for at in range(6)
    ]  # fmt: skip
    load = Load(20.0, 0.7, 14.0, lives=5_000, seconds=300.0, cpu_ms_a_life=40.0, samples=samples, wrong_payments=3)
    load.milliseconds = {"read it": [1.0, 2.0, 3.0]}
    lines = {line[:24].strip(): line[24:].split() for line in write_report(load, "a machine").splitlines()}
    assert lines["read it"] == ["2", "ms", "3", "ms", "3", "ms", "3"]
    assert lines["memory of the web"] == ["100", "MB", "104", "MB"]
    assert lines["refunds that wait"] == ["0.5", "0.5"]
    load.table_kilobytes = {"event": 4.25, "refund": 2.0}
    text = write_report(load, "a machine")
    assert "KB a return in: event 4.2, refund 2.0." in text
    assert "1,080,000 returns a day" in text
    assert "1000.0 GB of database" in text
    assert "1 KB of write-ahead log" in text
    assert "exactly their amount at Stripe: 3." in text
