"""What a load run saw, and how it is told: percentiles by call, growth, and what follows for a machine's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from tests.bench.result import percentile

DAY_SECONDS = 86_400
SIZING_SHARE = 0.5  # of a core that a shop plans with: the rest is for the busiest hour
GIGABYTE = 1 << 30
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Sample:
    """What the service holds at a moment: `memory` in MB by process, refunds that wait, bytes in the database."""

    at: float  # seconds since the load began
    memory: Mapping[str, float]
    queue: int
    database_bytes: int
    wal_written: int  # bytes since the server began
    wal_kept: int  # bytes on the disk


@dataclass
class Load:
    """What a run saw. `ceiling` and `lives_a_second` are lives a second, `milliseconds` by call."""

    ceiling: float
    share: float
    lives_a_second: float
    lives: int = 0
    seconds: float = 0.0
    most_under_way: int = 0
    repeated: int = 0
    wrong_payments: int = 0
    cpu_ms_a_life: float = 0.0
    milliseconds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    refund_seconds: Sequence[float] = ()
    table_kilobytes: Mapping[str, float] = field(default_factory=dict)  # a return, by table
    samples: list[Sample] = field(default_factory=list)


def write_report(load: Load, machine: str) -> str:
    """Return the report as text."""
    lines = [
        f"{load.lives} returns in {load.seconds / 60:.1f} minutes on {machine}:",
        f"{load.lives_a_second:.1f} a second, {load.share:.0%} of the {load.ceiling:.1f} that it takes; every webhook",
        "delivered twice, one call to Stripe in a hundred failing. One web, one worker, PostgreSQL and the",
        "simulator share the cores with the driver.",
        "",
        f"{'':24}{'p50':>10}{'p95':>10}{'p99':>10}{'calls':>10}",
    ]
    for name, values in load.milliseconds.items():
        cells = [f"{percentile(values, share):.0f} ms" for share in (0.5, 0.95, 0.99)]
        lines.append(f"{name:24}" + "".join(f"{cell:>10}" for cell in [*cells, str(len(values))]))
    if load.refund_seconds:
        cells = [f"{percentile(load.refund_seconds, share):.1f} s" for share in (0.5, 0.95, 0.99)]
        lines.append(
            f"{'parcel to refunded':24}" + "".join(f"{c:>10}" for c in [*cells, str(len(load.refund_seconds))])
        )
    lines += ["", f"{'':24}{'first third':>14}{'last third':>14}"]
    third = max(1, len(load.samples) // 3)
    early, late = load.samples[:third], load.samples[-third:]
    for part in load.samples[0].memory:
        cells = [f"{mean(sample.memory[part] for sample in side):.0f} MB" for side in (early, late)]
        lines.append(f"{'memory of the ' + part:24}{cells[0]:>14}{cells[1]:>14}")
    queues = [f"{mean(sample.queue for sample in side):.1f}" for side in (early, late)]
    lines.append(f"{'refunds that wait':24}{queues[0]:>14}{queues[1]:>14}")
    kept = [f"{mean(sample.wal_kept for sample in side) / MEGABYTE:.0f} MB" for side in (early, late)]
    lines.append(f"{'write-ahead log kept':24}{kept[0]:>14}{kept[1]:>14}")
    first, last = load.samples[0], load.samples[-1]
    gigabytes = (last.database_bytes - first.database_bytes) / load.lives * 1e6 / GIGABYTE
    kilobytes = (last.wal_written - first.wal_written) / load.lives / 1024
    a_day = 1000 / load.cpu_ms_a_life * DAY_SECONDS * SIZING_SHARE
    lines += [
        "",
        f"CPU a return: {load.cpu_ms_a_life:.0f} ms of web, worker and PostgreSQL. A core that is half busy takes",
        f"{a_day:,.0f} returns a day. A million returns take {gigabytes:.1f} GB of database; one return writes",
        f"{kilobytes:.0f} KB of write-ahead log.",
        "KB a return in: " + ", ".join(f"{name} {size:.1f}" for name, size in load.table_kilobytes.items()) + ".",
        f"Requests repeated after a 5xx: {load.repeated}. Most returns under way at once: {load.most_under_way}.",
        f"Payments without exactly one refund of exactly their amount at Stripe: {load.wrong_payments}.",
    ]
    return "\n".join(lines) + "\n"
