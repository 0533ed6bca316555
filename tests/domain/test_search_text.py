"""The text that is searched: one form for what is stored and what is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.search_text import join_words, normalise, prefix_range, searchable, words_in

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.mark.parametrize(
    "one, other",
    [
        ("ÄPFEL", "äpfel"),
        ("A\u0308pfel", "äpfel"),  # two characters, one letter
        ("STRASSE", "straße"),
        ("ＳＨＩＲＴ－Ｍ", "shirt-m"),
        ("SHIRT\u00a0M\r", " shirt m"),
        ("SH\u00adIRT\u200b", "shirt"),  # a soft hyphen, a zero-width space
        ("ﬁx", "fix"),
    ],
)
def test_what_a_person_sees_as_the_same_is_the_same(one: str, other: str) -> None:
    """D1: NFKC and case folding, on both databases."""
    assert normalise(one) == normalise(other)


@given(TEXT)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(TEXT)
def test_each_word_of_a_text_finds_it_by_any_prefix(text: str) -> None:
    """D1: what is stored of a text is found by every beginning of every word of it."""
    stored = searchable([text])
    for word in words_in(text):
        for end in range(1, len(word) + 1):
            first, last = prefix_range(word[:end])
            assert any(first <= known < last for known in stored)


@given(TEXT, TEXT)
def test_a_prefix_range_holds_what_begins_so_and_nothing_else(prefix: str, text: str) -> None:
    prefix, text = join_words(prefix), join_words(text)
    first, last = prefix_range(prefix)
    assert (first <= text < last) is text.startswith(prefix)


def test_a_part_of_an_id_or_address_is_found_by_its_beginning() -> None:
    stored = searchable(["Ann.Lee@example.com"], ["order_98765", "1Z 999 AA1"])
    assert {"ann.lee@example.com", "lee@example.com", "example.com", "98765", "1z999aa1", "999"} <= stored


def test_an_endless_text_makes_few_and_short_words() -> None:
    stored = searchable(["a-" * 10_000, "b" * 10_000])
    assert len(stored) < 20
    assert max(map(len, stored)) == 120
