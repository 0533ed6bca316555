"""What a benchmark found: a ratio to a reference of the same run, and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure. A ratio above 1 is better than the reference; `aim` is the ratio to reach."""

    name: str
    unit: str  # of `ours` and `reference`
    ratio: float
    ours: float
    reference: float
    min: float  # of the rounds' ratios
    max: float
    rounds: int
    variant: str = ""  # where one name has several rows
    aim: float | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)  # CPU ms by process, statements, commits, memory

    @property
    def title(self) -> str:
        """The row's name, with its variant."""
        return f"{self.name} ({self.variant})" if self.variant else self.name

    def to_dict(self) -> dict[str, Any]:
        """Return it as it is written to a file."""
        return asdict(self)


Measure = Callable[[int, Callable[[], None]], Coroutine[Any, Any, Sequence[Row]]]  # rounds, told after each


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that `share` (0 to 1) of all don't exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def row_of_costs(
    name: str, ours: Sequence[float], reference: Sequence[float], *, unit: str = "CPU ms", variant: str = "",
    aim: float | None = None, **beside: Any,
) -> Row:  # fmt: skip
    """Return the row of costs by round, where less is better: medians, and the spread of the rounds' ratios."""
    ratios = [theirs / mine for mine, theirs in zip(ours, reference, strict=True)]
    return Row(
        name, unit, median(ratios), median(ours), median(reference), min(ratios), max(ratios), len(ratios),
        variant, aim, beside,
    )  # fmt: skip
