"""Links that nobody can make up, colours that can be read, and offers that are the return's own estimate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain import money
from returns_service.domain.contrast import LEAST_CONTRAST, contrast, readable_on, text_on
from returns_service.domain.policy import DEFAULT, Decision
from returns_service.domain.portal_offer import OfferedLine, Pick, amount_of, make_offer
from returns_service.domain.signed_link import derive_key, read_link, sign_link
from returns_service.domain.vocabulary import RESOLUTIONS

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAME = "pts_" + "0123456789abcdefghjkmnpqrs"
KEY, OTHER = derive_key("one"), derive_key("other")


def test_a_link_says_what_was_signed_until_when() -> None:
    token = sign_link(KEY, NAME, NOW)
    for keys in ([KEY], [OTHER, KEY]):
        link = read_link(keys, token)
        assert link is not None
        assert (link.id, link.expires_at) == (NAME, NOW)
        assert link.is_over(NOW)
        assert not link.is_over(NOW - timedelta(seconds=1))
    assert read_link([OTHER], token) is None
    assert read_link([], token) is None


@given(st.integers(0, 200), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_link_with_one_other_character_is_none(place: int, character: str) -> None:
    token = sign_link(KEY, NAME, NOW)
    place %= len(token)
    if token[place] != character:
        assert read_link([KEY], token[:place] + character + token[place + 1 :]) is None


@pytest.mark.parametrize("token", ["", ".", "..", f"{NAME}.1.", f"{NAME}.{'9' * 13}.{'A' * 43}", "x" * 10_000])
def test_nonsense_is_no_link(token: str) -> None:
    assert read_link([KEY], token) is None


COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(COLOURS, st.sampled_from(["#ffffff", "#f3f4f6", "#17181b", "#222428"]))
def test_every_colour_is_made_readable_on_light_and_dark(colour: str, background: str) -> None:
    made = readable_on(colour, background)
    assert contrast(made, background) >= LEAST_CONTRAST
    assert contrast(text_on(made), made) >= LEAST_CONTRAST
    if contrast(colour, background) >= LEAST_CONTRAST:
        assert made == colour, "a colour that can be read stays the shop's own"


def test_black_on_white_is_the_most_contrast_there_is() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # WebAIM's example


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10**6)), min_size=1, max_size=5),
    st.sampled_from(["usd", "jpy", "kwd", "isk"]),
    st.data(),
)
def test_an_offer_never_promises_more_than_was_paid_and_sums_to_its_rows_by_each_way(
    offered: list[tuple[int, int]], currency: str, data: st.DataObject
) -> None:
    lines = [OfferedLine(f"S{n}", units, amount) for n, (units, amount) in enumerate(offered)]
    wanted = st.sampled_from(RESOLUTIONS)
    picks = [
        Pick(n, data.draw(st.integers(1, line.quantity)), "too_small", data.draw(wanted))
        for n, line in enumerate(lines)
    ]
    policy = replace(DEFAULT, label_cost={currency: data.draw(st.sampled_from([0, 500, 10**7]))})
    terms, nothing_said = policy.terms(currency, shipping_amount=0), Decision(True, False, 1, ())
    offer = make_offer(policy, lines, picks, terms=terms, decision=nothing_said, approves_itself=False)
    by_way = dict.fromkeys(RESOLUTIONS, 0)
    for pick in picks:
        by_way[pick.resolution] += amount_of(lines[pick.line], pick.quantity, currency)
    label = sum(row.amount for row in offer.rows if row.kind == "label")
    worth = sum(by_way.values()) + label
    assert offer.amount == max(0, worth)
    assert offer.amount_refunded + offer.amount_outside == offer.amount
    assert offer.amount_refunded == min(offer.amount, max(0, by_way["refund"] + label))
    assert sum(row.amount for row in offer.rows) == worth
    assert offer.amount <= sum(line.total_amount for line in lines)
    assert offer.amount % money.step(currency) == 0
