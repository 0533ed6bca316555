"""Run a benchmark and print its figures: `python -m tests.bench executor|scaleout [--refunds N] [--json FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

from tests.bench.executor import Measured, measured

BUDGET = 100


def main() -> None:
    """Parse, measure, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("names", nargs="*", default=["executor", "scaleout"], choices=["executor", "scaleout"])
    words.add_argument("--refunds", type=int, default=1500)
    words.add_argument("--latency", type=float, default=0.3, help="seconds the simulator takes to answer")
    words.add_argument("--json", type=Path)
    asked = words.parse_args()
    rows = []
    for name in asked.names:
        for workers in {"executor": [1], "scaleout": [2, 4]}[name]:
            with tempfile.TemporaryDirectory() as folder:
                found = asyncio.run(measured(Path(folder), workers, asked.refunds, BUDGET, asked.latency))
            print(f"{name:9} {workers} worker(s): {told(found)}", flush=True)
            rows.append(
                {
                    "name": name,
                    "ratio": found.a_second / BUDGET,
                    "ours": found.a_second,
                    "reference": BUDGET,
                    "unit": "refunds/s",
                    "workers": workers,
                    "most_in_a_second": found.most_in_a_second,
                    "sent_twice": found.sent_twice,
                    "rounds": 1,
                }
            )
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def told(found: Measured) -> str:
    """Return a measurement in words."""
    return (
        f"{found.a_second:.1f} refunds/s of a budget of {BUDGET}, at most {found.most_in_a_second} in any second, "
        f"{found.refunds} refunds, {found.sent_twice} sent twice"
    )


main()
