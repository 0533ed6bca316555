"""The mark by which a refund is given back to its return: read as it was written, and by nobody else's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.refund_mark import LONGEST, RefundMark, read_mark, write_mark

REFUND, RETURN = "rfd_01h455vb4pex5vsknk084sn02q", "ret_01h455vb4pex5vsknk084sn02r"


@given(st.text("line:;!-0123456789", max_size=600))
def test_a_mark_is_read_as_it_was_written_and_fits(breakdown: str) -> None:
    text = write_mark(REFUND, RETURN, breakdown)
    assert len(text) <= LONGEST
    mark = read_mark({"refund_id": REFUND, "lines": text, "return_id": "the caller's"})
    assert mark in (RefundMark(RETURN, breakdown), RefundMark(RETURN, ""))
    assert mark == RefundMark(RETURN, breakdown) or len(breakdown) > 400


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"refund_id": REFUND},
        {"refund_id": REFUND, "return_id": RETURN},
        {"refund_id": REFUND, "return_id": RETURN, "lines": ""},
        {"refund_id": REFUND, "return_id": RETURN, "lines": f"{RETURN}|line:0:1:100|0123456789abcdef"},
        {"refund_id": "rfd_another", "lines": write_mark(REFUND, RETURN, "line:0:1:100")},
    ],
)
def test_b4_nothing_else_is_a_mark(metadata: dict[str, str]) -> None:
    """B4: a caller's `return_id` on a refund of no return gave it to that return after a restore."""
    assert read_mark(metadata) is None


def test_a_release_before_wrote_the_breakdown_alone() -> None:
    metadata = {"refund_id": REFUND, "return_id": RETURN, "lines": "line:0:1:100"}
    assert read_mark(metadata) == RefundMark(RETURN, "line:0:1:100")
