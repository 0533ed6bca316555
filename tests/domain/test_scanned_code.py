"""Codes as scanners type them find their line, and only theirs."""

from __future__ import annotations

import pytest

from returns_service.domain.scanned_code import clean_code, meant_by, return_named_in

LINES = {"shirt": ["SHIRT-M"], "mug": ["MUG"], "small mug": ["mug"], "book": ["0036000291452"], "tea": ["TEA 50 G"]}


@pytest.mark.parametrize(
    "scanned, means",
    [
        ("SHIRT-M", ["shirt"]),
        ("shirt-m", ["shirt"]),
        ("SHIRT-M\r", ["shirt"]),
        (" SHIRT-M\u00a0", ["shirt"]),
        ("\x02SHIRT-M\x03", ["shirt"]),
        ("ＳＨＩＲＴ－Ｍ", ["shirt"]),
        ("TEA\u20035\u200b0\tG", ["tea"]),
        ("MUG", ["mug"]),
        ("Mug", []),
        ("036000291452", ["book"]),
        ("00036000291452", ["book"]),
        ("36000291452", []),
        ("SHIRT", []),
        ("", []),
    ],
)
def test_a_code_means_a_line(scanned: str, means: list[str]) -> None:
    assert meant_by(clean_code(scanned), LINES) == means


def test_two_lines_of_one_code_are_both_meant() -> None:
    assert meant_by("A", {1: ["A"], 2: ["A"], 3: ["a"]}) == [1, 2]


def test_zeros_are_no_product_number() -> None:
    assert meant_by("00000000", {1: ["0000000000000"]}) == []


@pytest.mark.parametrize(
    "code, named",
    [
        ("ret_01k9x7d3m8f2aw01k9x7d3m8f2", "ret_01k9x7d3m8f2aw01k9x7d3m8f2"),
        ("https://returns.test/returns/ret_01k9x7d3m8f2aw01k9x7d3m8f2?x=1", "ret_01k9x7d3m8f2aw01k9x7d3m8f2"),
        ("RET_01K9X7D3M8F2AW01K9X7D3M8F2", "ret_01k9x7d3m8f2aw01k9x7d3m8f2"),
        ("4821300017", "4821300017"),
        ("482130001", None),
        ("NW-48213", None),
    ],
)
def test_a_return_is_named_by_id_address_or_slip(code: str, named: str | None) -> None:
    assert return_named_in(code) == named
