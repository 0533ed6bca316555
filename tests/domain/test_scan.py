"""C2: which line a scan means, whatever the scanner adds, changes or leaves out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.scan import clean_code, clean_scan, lines_for, return_named_in


@dataclass(eq=False)
class Line:
    sku: str
    barcodes: list[str] | None = None


SHIRT = Line("SHIRT-M", ["036000291452"])
OTHER = Line("MUG", ["4006381333931"])


@pytest.mark.parametrize(
    "scan",
    [
        "SHIRT-M",
        "shirt-m",
        "SHIRT-M\r",
        " SHIRT-M\n",
        "SHIRT-M\u00a0",
        "\ufeffSHIRT-M\u200b",
        "\uff33\uff28\uff29\uff32\uff34\uff0d\uff2d",
        "036000291452",
        "0036000291452",
        "00036000291452\r\n",
    ],
)
def test_a_scan_finds_its_line(scan: str) -> None:
    """C2: blanks, control characters, case, full width and leading zeros of an article number."""
    assert lines_for(scan, [OTHER, SHIRT]) == [SHIRT]


@pytest.mark.parametrize("scan", ["SHIRT", "SHIRT-L", "36000291452", "0000036000291452", "\r\n", "\u00a0"])
def test_another_scan_finds_none(scan: str) -> None:
    """C2: eleven or sixteen digits are no article number, and a scan of blanks alone means nothing."""
    assert lines_for(scan, [SHIRT, OTHER, Line("\u3000")]) == []


def test_exact_comes_first_and_two_ways_to_read_it_are_none() -> None:
    """C2: only the only match counts."""
    upper, lower = Line("A-1"), Line("a-1")
    assert lines_for("a-1", [upper, lower]) == [lower]
    assert lines_for("A-1\r", [upper, lower]) == [upper]
    assert lines_for("\uff41-1", [upper, lower]) == [lower]
    assert lines_for("A-1", [Line("B", ["A-1"]), upper]) == [upper]
    assert lines_for("x1", [Line("X1"), Line("Y", ["X1"])]) == []
    assert lines_for("0036000291452", [SHIRT, Line("036000291452")]) == []


def test_lines_of_one_sku_are_found_together() -> None:
    """C2: units of one SKU may stand on several lines, full ones too."""
    first, second = Line("SHIRT"), Line("SHIRT")
    assert lines_for("shirt", [first, OTHER, second]) == [first, second]


@given(st.text(max_size=30))
def test_what_was_normalized_stays_so(scan: str) -> None:
    """C2: a second reader finds the same."""
    assert clean_scan(clean_scan(scan)) == clean_scan(scan)


@pytest.mark.parametrize(
    "typed, clean",
    [
        (" SHIRT-M\u00a0", "SHIRT-M"),
        ("\x02SHIRT-M\x03\r", "SHIRT-M"),
        ("ＴＥＡ\u20035\u200b0\tG", "TEA 50 G"),
        ("\u202etxet", "txet"),
        ("\ud800", ""),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_clean_code_is_what_people_see(typed: str, clean: str) -> None:
    assert clean_code(typed) == clean


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
