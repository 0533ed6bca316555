"""Slip codes: ten digits, the last of which checks the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.slip_code import check_digit, is_slip_code, slip_code


def test_the_check_digit_is_luhns() -> None:
    assert check_digit("7992739871") == "3"  # the example of ISO/IEC 7812-1
    assert check_digit("424242424242424") == "2"  # a card number of Stripe's tests


@given(st.text(), st.integers(0, 50))
def test_a_code_has_ten_digits_and_no_leading_zero(return_id: str, draw: int) -> None:
    code = slip_code(return_id, draw)
    assert is_slip_code(code)
    assert code[0] != "0"
    assert code == slip_code(return_id, draw)


@given(st.text(), st.integers(0, 9), st.integers(1, 9))
def test_one_mistyped_digit_never_fits(return_id: str, place: int, by: int) -> None:
    code = slip_code(return_id)
    wrong = code[:place] + str((int(code[place]) + by) % 10) + code[place + 1 :]
    assert not is_slip_code(wrong)


def test_what_is_no_code() -> None:
    assert not any(map(is_slip_code, ("", "123", "12345678901", "٤" * 10, "abcdefghij")))
