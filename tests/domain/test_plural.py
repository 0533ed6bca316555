"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from returns_service.domain.plural import pluralize


@pytest.mark.parametrize("number, words", [(0, "0 units"), (1, "1 unit"), (2, "2 units"), (21, "21 units")])
def test_one_thing_is_not_called_many(number: int, words: str) -> None:
    assert pluralize(number, "unit") == words
