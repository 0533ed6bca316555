"""Plain dice for Hypothesis: every number of a range is as likely as another.

Why: Hypothesis' own draws lean towards small numbers and repeat themselves, which finds bugs in parsers and starves a
world: a fault late in a list would strike once in a thousand. It shrinks what these dice found all the same.
https://hypothesis.readthedocs.io/en/latest/extras.html#alternative-backends
"""

from __future__ import annotations

from random import Random

from hypothesis.control import current_build_context
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, PrimitiveProvider

NAME = "dice"


class Dice(PrimitiveProvider):
    """Draws booleans and bounded whole numbers: all that the world's rules ask for."""

    lifetime = "test_case"

    @property
    def random(self) -> Random:
        """The run's own randomness: a seed tells the same stories again."""
        found: Random = self._cd._random  # type: ignore[union-attr, assignment]
        return found

    def draw_boolean(self, p: float = 0.5) -> bool:
        """Return True with probability `p`."""
        return self.random.random() < p

    def draw_integer(
        self,
        min_value: int | None = None,
        max_value: int | None = None,
        *,
        weights: dict[int, float] | None = None,
        shrink_towards: int = 0,
    ) -> int:
        """Return any number of the range."""
        if min_value is None or max_value is None or weights is not None:
            raise TypeError("the world draws from ranges")
        return self.random.randint(min_value, max_value)

    def draw_float(self, **_: object) -> float:
        """Not drawn by any rule."""
        raise TypeError("the world draws no such thing")

    def draw_string(self, *_: object, **__: object) -> str:
        """Not drawn by any rule."""
        raise TypeError("the world draws no such thing")

    def draw_bytes(self, *_: object, **__: object) -> bytes:
        """Not drawn by any rule."""
        raise TypeError("the world draws no such thing")


def are_thrown() -> bool:
    """Return whether these dice play the present example; Hypothesis begins with the simplest one there is."""
    return isinstance(current_build_context().data.provider, Dice)


AVAILABLE_PROVIDERS[NAME] = Dice
