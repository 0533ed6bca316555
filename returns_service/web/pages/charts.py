"""The geometry of plots. Pure: figures in, places out; `charts.html` writes them down as SVG.

Across, places are shares of the width in percent, down they are pixels, so that text keeps its size at any width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final, Literal

TOP: Final = 30.0  # of the tallest bar: above it stands its figure
BASE: Final = 180.0
MOST_MARKS: Final = 4  # under the bars, beside the last; a phone has room for so many
ROW_HEIGHT: Final = 44
RANGE_HEIGHT: Final = 46
LONGEST_LABEL: Final = 26  # characters beside an amount, on a phone
LEAST_SHOWN: Final = 1e-6  # smaller values are drawn as nothing
OUTLIER: Final = 5.0  # times the alert line: what is above it is cut, or no other bar could be seen

BarKind = Literal["", "over", "so-far"]
RowKind = Literal["", "late", "over"]
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Point:
    """One bar to draw. `value` None: there is none; `mark` stands under it, `text` is its figure, `title` all of it."""

    value: float | None
    mark: str
    text: str
    title: str
    kind: BarKind = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar as it is drawn."""

    x: float
    width: float
    y: float
    height: float
    kind: BarKind
    title: str


@dataclass(frozen=True, slots=True)
class Words:
    """A text at a place."""

    x: float
    y: float
    text: str
    anchor: Anchor
    kind: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars over a base, with a scale, an alert line and direct labels."""

    kind: Literal["bars"]
    bars: Sequence[Bar]
    scale: Sequence[tuple[float, str]]  # y and what stands there
    words: Sequence[Words]
    alert_y: float
    alert_text: str
    height: int = 212


@dataclass(frozen=True, slots=True)
class MeterRow:
    """One row: a name, its figure, and a bar as long as its share of the greatest."""

    label: str
    text: str
    width: float
    y: int
    kind: RowKind
    title: str


@dataclass(frozen=True, slots=True)
class Meters:
    """Rows to compare."""

    kind: Literal["meters"]
    rows: Sequence[MeterRow]
    height: int


@dataclass(frozen=True, slots=True)
class RangeRow:
    """One row: from a full dot to an open one; a None has nothing to show."""

    label: str
    y: int
    low: float | None
    high: float | None
    words: Sequence[Words]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Rows of ranges over a scale."""

    kind: Literal["ranges"]
    rows: Sequence[RangeRow]
    scale: Sequence[tuple[float, str]]  # x and what stands there
    base: int
    height: int


Drawing = BarChart | Meters | Ranges


def round_step(greatest: float, steps: int) -> float:
    """Return the round step (1, 2 or 5 times a power of ten) of which at most `steps` reach `greatest`."""
    if greatest < LEAST_SHOWN:
        return 1.0
    power = 10.0 ** floor(log10(greatest / steps))
    return next(step for factor in (1, 2, 5, 10) if (step := factor * power) * steps >= greatest * 0.999)


def draw_bars(points: Sequence[Point], alert: float, alert_text: str) -> BarChart:
    """Draw a bar a point, in percent, with the alert line at `alert` and the figures of the greatest and the last."""
    values = [point.value for point in points if point.value is not None]
    greatest = max([*values, alert], default=0.0)
    if alert > 0:
        greatest = min(greatest, OUTLIER * alert)
    step = round_step(greatest, 4)
    top = max(greatest * 1.02, step)
    slot = 100 / max(len(points), 1)

    def y_of(value: float) -> float:
        return round(BASE - (BASE - TOP) * min(value / top, 1.0), 1)

    bars = [
        Bar(
            round(slot * (n + 0.15), 3), round(slot * 0.7, 3), y_of(point.value), round(BASE - y_of(point.value), 1),
            point.kind, point.title,
        )
        for n, point in enumerate(points)
        if point.value is not None
    ]  # fmt: skip
    scale = [(y_of(n * step), f"{n * step:g} %") for n in range(1, 5) if n * step <= top]
    words = [*_marks(points, slot), *_figures(points, slot, y_of)]
    return BarChart("bars", bars, scale, words, y_of(alert), alert_text)


def _marks(points: Sequence[Point], slot: float) -> list[Words]:
    """Return what stands under the bars: the first, the last, and some between, so that none touch."""
    if not points:
        return []
    every, last = max(1, ceil(len(points) / MOST_MARKS)), len(points) - 1
    between = [n for n in range(every, last, every) if (last - n) * slot >= 18]
    return [
        Words(0, 200, points[0].mark, "start", "axis"),
        *(Words(round(slot * (n + 0.5), 3), 200, points[n].mark, "middle", "axis") for n in between),
        *([Words(100, 200, points[last].mark, "end", "axis")] if last else []),
    ]


def _figures(points: Sequence[Point], slot: float, y_of: Callable[[float], float]) -> list[Words]:
    """Return the figures that stand at bars: the greatest above the alert line, and the last."""
    known = [(point.value, n) for n, point in enumerate(points) if point.value is not None]
    if not known:
        return []
    found: list[Words] = []
    over = [(value, n) for value, n in known if points[n].kind == "over"]
    greatest = max(over)[1] if over else None
    last = known[-1][1]
    if greatest is not None:
        found.append(_figure(points[greatest], greatest, slot, y_of(max(over)[0]), "alert-text"))
    if greatest is None or (last - greatest) * slot > 14:  # else they would stand on each other
        found.append(_figure(points[last], last, slot, y_of(known[-1][0]), "strong"))
    return found


def _figure(point: Point, n: int, slot: float, y: float, kind: str) -> Words:
    x = slot * (n + 0.5)
    place, anchor = _at_edge(x, 8)
    return Words(place, y - 7, point.text, anchor, kind)


def _at_edge(x: float, margin: float) -> tuple[float, Anchor]:
    """Return where a text around `x` stands, so that it does not reach out of the plot."""
    if x < margin:
        return 0, "start"
    return (100, "end") if x > 100 - margin else (round(x, 3), "middle")


def draw_meters(rows: Sequence[tuple[str, str, int, RowKind]]) -> Meters:
    """Draw rows of name, figure, size and kind, each against the greatest size."""
    greatest = max((size for _, _, size, _ in rows), default=0)
    drawn = [
        MeterRow(
            shorten(label), text, round(100 * size / greatest, 1) if greatest > 0 else 0, n * ROW_HEIGHT, kind,
            f"{label}: {text}",
        )
        for n, (label, text, size, kind) in enumerate(rows)
    ]  # fmt: skip
    return Meters("meters", drawn, ROW_HEIGHT * len(rows))


def shorten(label: str) -> str:
    """Return a name that leaves room for its figure; the table beside the plot has all of it."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1].rstrip()}…"


def draw_ranges(rows: Sequence[tuple[str, tuple[float, float] | None]]) -> Ranges:
    """Draw rows of a name and two figures, the lower first; None: it has none."""
    greatest = max((pair[1] for _, pair in rows if pair is not None), default=0.0)
    step = max(round_step(greatest, 5), 0.1)
    top = step * max(1, ceil(round(greatest / step, 6)))
    scale = [(round(100 * n * step / top, 2), f"{n * step:g}") for n in range(round(top / step) + 1)]
    drawn = []
    for n, (label, pair) in enumerate(rows):
        y = 28 + n * RANGE_HEIGHT
        if pair is None:
            drawn.append(RangeRow(label, y, None, None, ()))
            continue
        low, high = (round(100 * value / top, 2) for value in pair)
        drawn.append(RangeRow(label, y, low, high, _range_words(pair, low, high, y - 13)))
    base = RANGE_HEIGHT * len(rows)
    return Ranges("ranges", drawn, scale, base, base + 36)


def _range_words(pair: tuple[float, float], low: float, high: float, y: float) -> list[Words]:
    """Return the two figures over their dots; where these are close, one text with both."""
    lower, upper = f"{pair[0]:.1f}", f"{pair[1]:.1f}"
    if high - low >= 16:
        return [Words(low, y, lower, "middle", "strong"), Words(high, y, upper, "middle", "")]
    text = lower if lower == upper else f"{lower} and {upper}"
    place, anchor = _at_edge((low + high) / 2, 10)
    return [Words(place, y, text, anchor, "strong")]
