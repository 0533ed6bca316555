"""Show what was found: a table for the terminal, a plot as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from rich.console import Console
from rich.table import Table

from tests.bench.result import Row

LEFT, WIDTH, LINE, BAR = 220, 900, 34, 14  # pixels
LEAST, MOST = 0.01, 10.0  # the ratios at the plot's edges, on a logarithmic scale


def show_table(console: Console, rows: Sequence[Row], before: Sequence[Row]) -> None:
    """Print the rows; where there are earlier ones, how the ratio has changed."""
    table = Table(caption="A ratio above 1 is better than the reference, which is measured in the same run.")
    for heading in ("what", "ratio", "min to max", "aim", "ours", "reference", "unit"):
        table.add_column(heading, justify="right" if heading in ("ratio", "aim", "ours", "reference") else "left")
    if before:
        table.add_column("before", justify="right")
    earlier = {row.title: row for row in before}
    for row in rows:
        reached = row.aim is None or row.ratio >= row.aim
        cells = [
            row.title, f"[{'green' if reached else 'red'}]{row.ratio:.3f}[/]", f"{row.min:.3f} to {row.max:.3f}",
            "" if row.aim is None else f"{row.aim:g}", f"{row.ours:.4g}", f"{row.reference:.4g}", row.unit,
        ]  # fmt: skip
        if before:
            old = earlier.get(row.title)
            cells.append(f"{old.ratio:.3f} ({row.ratio / old.ratio - 1:+.0%})" if old else "new")
        table.add_row(*cells)
    console.print(table)
    for row in rows:
        console.print(f"[bold]{row.title}[/]")
        for name, value in row.beside.items():
            console.print(f"  {name.replace('_', ' ')}: {_short(value)}", highlight=False)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(part)}" for name, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw_plot(rows: Sequence[Row]) -> str:
    """Return the ratios as an SVG: a bar each, its spread over the rounds, and its aim."""
    height = LINE * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13"><title>Ratios to the references of the same run</title>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    ]
    for tick in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
        at = _x(tick)
        parts.append(f'<path d="M{at:.1f} {LINE}V{height - LINE}" stroke="{"#000" if tick == 1 else "#ccc"}"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - LINE / 2:.0f}" text-anchor="middle">{tick:g}</text>')
    for number, row in enumerate(rows):
        middle = LINE * (number + 1.5)
        reached = row.aim is None or row.ratio >= row.aim
        parts += [
            f'<text x="{LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(row.title)}</text>',
            f'<rect x="{LEFT}" y="{middle - BAR / 2:.1f}" width="{_x(row.ratio) - LEFT:.1f}" height="{BAR}" '
            f'fill="{"#2f7d4f" if reached else "#b5542a"}"/>',
            f'<path d="M{_x(row.min):.1f} {middle:.1f}H{_x(row.max):.1f}" stroke="#000" stroke-width="2"/>',
            f'<text x="{_x(max(row.max, row.ratio)) + 6:.1f}" y="{middle + 4:.1f}">{row.ratio:.3f}</text>',
        ]
        if row.aim is not None:
            parts.append(
                f'<path d="M{_x(row.aim):.1f} {middle - BAR:.1f}v{2 * BAR}" stroke="#1b4fa0" stroke-width="3"/>'
            )
    parts.append(f'<text x="{LEFT}" y="{LINE / 2:.0f}">ratio to the reference (blue: the aim; line: min to max)</text>')
    return "\n".join([*parts, "</svg>\n"])


def _x(ratio: float) -> float:
    """Return where a ratio lies, pixels from the left."""
    share = (log10(min(MOST, max(LEAST, ratio))) - log10(LEAST)) / (log10(MOST) - log10(LEAST))
    return LEFT + share * (WIDTH - LEFT - 60)
