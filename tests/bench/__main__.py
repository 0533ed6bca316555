"""Measure, and show: `python -m tests.bench [NAME…] [--json FILE] [--rounds N] [--compare FILE] [--plot FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import json
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench import rows as rows_folder
from tests.bench.report import draw_plot, show_table
from tests.bench.result import Measure, Row

NAMES = sorted(path.stem for path in Path(rows_folder.__path__[0]).glob("*.py") if path.stem != "__init__")
ROUNDS = 5


def main() -> None:
    """Parse, measure, print."""
    words = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    words.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure, all by default: {', '.join(NAMES)}")
    words.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each comparison, interleaved ({ROUNDS})")
    words.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    words.add_argument("--compare", type=Path, metavar="FILE", help="rows that --json wrote before, to show beside")
    words.add_argument("--plot", type=Path, metavar="FILE", default=Path("bench.svg"), help="the plot (bench.svg)")
    asked = words.parse_args()
    if unknown := [name for name in asked.names if name not in NAMES]:
        words.error(f"no such figure: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    before = read_rows(asked.compare) if asked.compare else []
    found: list[Row] = []
    console = Console()
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=console) as progress:
        for name in asked.names or NAMES:
            task = progress.add_task(name, total=None)
            measure: Measure = import_module(f"tests.bench.rows.{name}").measure
            found += asyncio.run(measure(asked.rounds, lambda task=task: progress.advance(task)))  # type: ignore[misc]
            progress.update(task, total=progress.tasks[task].completed)
            if asked.json:  # after each: a long run that is stopped leaves what it found
                asked.json.write_text(json.dumps([row.to_dict() for row in found], indent=1), encoding="utf-8")
    show_table(console, found, before)
    asked.plot.write_text(draw_plot(found), encoding="utf-8")
    console.print(f"The plot is in {asked.plot}.")


def read_rows(file: Path) -> list[Row]:
    """Return rows as they were written."""
    return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


main()
