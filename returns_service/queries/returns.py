"""Find returns: the filters and the search of lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy.orm import aliased
from sqlmodel import col, select, union

from returns_service.domain.problems import Problem
from returns_service.domain.search_text import join_words, metadata_word, normalise, prefix_range, words_in
from returns_service.store.metadata_value import MetadataValue
from returns_service.store.tables import Payment, ReturnAuthorization, SearchWord

MOST_WORDS = 20  # each is a look into the index


def return_ids(
    *,
    order_id: str | None = None,
    customer_email: str | None = None,
    payment_intent: str | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
    words: str | None = None,
) -> Any:
    """Return the statement for the ids of returns that meet every filter given; the caller orders and limits it.

    Raises Problem invalid_request where `words` are too many.
    """
    row = ReturnAuthorization
    chosen: Any = select(row.id)
    if order_id is not None:
        chosen = chosen.where(col(row.order_id) == order_id.strip())
    if customer_email is not None:
        chosen = chosen.where(of_customer(customer_email))
    if payment_intent is not None:
        chosen = chosen.join(Payment, col(Payment.id) == col(row.payment_id))
        chosen = chosen.where(col(Payment.payment_intent) == payment_intent)
    for key, value in metadata.items():
        indexed = select(SearchWord.return_id).where(col(SearchWord.word) == metadata_word(key, value))
        chosen = chosen.where(col(row.id).in_(indexed), MetadataValue(row.details, key) == value)
    return chosen if words is None else chosen.where(*search_conditions(words))


def of_customer(email: str) -> Any:
    """Return the condition for the returns of an e-mail address, however it is written."""
    return col(ReturnAuthorization.email_text) == normalise(email)


def search_conditions(text: str) -> list[Any]:
    """Return the condition for what a person types to find a return: each of its words begins a word of the return.

    Or all of it, typed with blanks, begins one: labels group long numbers. Raises Problem invalid_request.
    """
    words = words_in(text)
    if len(words) > MOST_WORDS:
        detail = f"q: Must be at most {MOST_WORDS} words"
        error = {"param": "q", "code": "too_long", "message": f"Must be at most {MOST_WORDS} words"}
        raise Problem("invalid_request", detail, param="q", errors=[error])
    if not words:
        return []
    ids = _with_all(words)
    if len(words) > 1:
        ids = union(ids, _with_all([join_words(text)]))
    return [col(ReturnAuthorization.id).in_(ids)]


def _with_all(prefixes: list[str]) -> Any:
    """Return the statement for the ids of returns that have a word with each of the prefixes.

    A join, so that the database begins with the rarest; where it can't know which that is, with the longest.
    """
    first, *others = (aliased(SearchWord) for _ in prefixes)
    chosen: Any = select(first.return_id)
    for other in others:
        chosen = chosen.join(other, col(other.return_id) == col(first.return_id))
    for word, prefix in zip((first, *others), sorted(prefixes, key=len, reverse=True), strict=True):
        start, end = prefix_range(prefix)
        chosen = chosen.where(col(word.word) >= start, col(word.word) < end)
    return chosen
