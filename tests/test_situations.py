"""The table of situations says which tests hold each row: every row and every test must be there."""

from __future__ import annotations

import re

import pytest

from tests.test_faults import TESTS, names_in

TABLE = (TESTS / "situations.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: re.findall(r"`([\w/]+\.py)::(\w+)`", cells[-1])
    for cells in ([cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE.splitlines())
    if re.fullmatch(r"(H-)?[A-D]\d+", cells[0])
}
SHOPS = {"A": 10, "B": 10, "C": 7, "D": 3}
ATTACKS = {"H-A": 8, "H-B": 9, "H-C": 7, "H-D": 7}
NAMES = [f"{part}{number}" for part, last in (SHOPS | ATTACKS).items() for number in range(1, last + 1)]


def test_no_row_is_missing() -> None:
    assert list(ROWS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_row_names_tests_that_exist(name: str) -> None:
    assert ROWS[name], "nothing holds it"
    for path, test in ROWS[name]:
        assert test in names_in(TESTS / path), f"{path}::{test}"
