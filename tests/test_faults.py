"""The fault table says what proves each row: every proof must be there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.world.met import HAPPENINGS
from tests.world.stage import FAULTS

TESTS = Path(__file__).parent
TABLE = (TESTS / "faults.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: cells[-1].split("; ")
    for cells in ([cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE.splitlines())
    if re.fullmatch(r"\d+b?", cells[0])
}
NUMBERS = [*map(str, range(1, 8)), "7b", "8", "9", "9b", *map(str, range(10, 30))]


def names_in(path: Path) -> set[str]:
    """Return the names of a file's tests."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, functions) and node.name.startswith("test_")}


def test_no_row_is_missing() -> None:
    assert list(ROWS) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_row_names_proofs_that_exist(number: str) -> None:
    assert ROWS[number], "nothing proves it"
    for proof in ROWS[number]:
        kind, _, name = proof.partition(": ")
        if kind == "world":
            assert name in HAPPENINGS, proof
        elif kind == "fault":
            assert name in FAULTS, proof
        else:
            path, _, test = proof.strip("`").partition("::")
            assert test in names_in(TESTS / path), proof


def test_what_the_world_must_meet_is_in_the_table() -> None:
    proofs = {proof for row in ROWS.values() for proof in row}
    assert {f"world: {name}" for name in HAPPENINGS} <= proofs
    assert {f"fault: {name}" for name in FAULTS} <= proofs
