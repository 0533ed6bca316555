"""Find returns: the filters and the search of lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import and_, case, func, literal, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select, union

from returns_service.domain.problems import Problem
from returns_service.domain.search_text import join_words, metadata_word, normalise, prefix_range, words_in
from returns_service.store.database import Tx
from returns_service.store.metadata_value import MetadataValue
from returns_service.store.tables import Payment, ReturnAuthorization, SearchWord

MOST_WORDS = 20  # each is a look into the index
FEW = 1000  # returns that a word finds: to read and sort them all is quick
NEWEST = 1000  # returns by which it is judged what most searches of a frequent word find
OFTEN = 20  # of the newest
OFTEN_TOGETHER = 3  # of several words: else all that one of them finds would be read


def return_ids(
    *,
    order_id: str | None = None,
    customer_email: str | None = None,
    payment_intent: str | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
    words: str | None = None,
    frequent: bool = False,
) -> Any:
    """Return the statement for the ids of returns that meet every filter given; the caller orders and limits it.

    `frequent`: as `finds_often` says of the words. Raises Problem invalid_request where `words` are too many.
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
    return chosen if words is None else chosen.where(*search_conditions(words, frequent=frequent))


def of_customer(email: str) -> Any:
    """Return the condition for the returns of an e-mail address, however it is written."""
    return col(ReturnAuthorization.email_text) == normalise(email)


async def finds_often(tx: Tx, text: str) -> bool:
    """Return whether a search finds so many returns that it is quicker to look at each, the newest first, than at all.

    No word of it is rare, and of the newest returns many have them together. A transaction asks once.
    """
    known: dict[str, bool] = tx.info.setdefault("finds_often", {})
    if text not in known:
        known[text] = await _finds_often(tx, _words_of(text), text)
    return known[text]


async def _finds_often(tx: Tx, words: list[str], text: str) -> bool:
    if not words:
        return False
    row_id = col(ReturnAuthorization.id)
    numbers = []
    for word in words:
        some = select(SearchWord.return_id).where(_begins(SearchWord, word)).limit(FEW + 1).subquery()
        numbers.append(select(func.count()).select_from(some).scalar_subquery() > FEW)
    newest = select(row_id).order_by(row_id.desc()).limit(NEWEST).subquery()
    found = select(func.count()).select_from(newest).where(_has_all(newest.c.id, words, text)).scalar_subquery()
    often = case((and_(*numbers), found >= (OFTEN if len(words) == 1 else OFTEN_TOGETHER)), else_=literal(False))
    return bool((await tx.execute(select(often))).scalar_one())


def search_conditions(text: str, *, frequent: bool = False) -> list[Any]:
    """Return the condition for what a person types to find a return: each of its words begins a word of the return.

    Or all of it, typed with blanks, begins one: labels group long numbers. `frequent` chooses how it is looked up, not
    what is found. Raises Problem invalid_request.
    """
    words = _words_of(text)
    if not words:
        return []
    if frequent:
        return [_has_all(col(ReturnAuthorization.id), words, text)]
    ids = _with_all(words)
    if len(words) > 1:
        ids = union(ids, _with_all([join_words(text)]))
    return [col(ReturnAuthorization.id).in_(ids)]


def _words_of(text: str) -> list[str]:
    words = words_in(text)
    if len(words) > MOST_WORDS:
        detail = f"q: Must be at most {MOST_WORDS} words"
        error = {"param": "q", "code": "too_long", "message": f"Must be at most {MOST_WORDS} words"}
        raise Problem("invalid_request", detail, param="q", errors=[error])
    return words


def _has_all(return_id: Any, words: list[str], text: str) -> Any:
    """Return the condition for one return after the other: a look into the index for each word."""

    def has(prefix: str) -> Any:
        word = aliased(SearchWord)
        # A value, not EXISTS: that PostgreSQL may turn into a join, which reads all matches first.
        of_return = select(word.return_id).where(col(word.return_id) == return_id, _begins(word, prefix))
        return of_return.limit(1).correlate_except(word).scalar_subquery().is_not(None)

    has_words = and_(*map(has, words))
    return or_(has_words, has(join_words(text))) if len(words) > 1 else has_words


def _begins(word: Any, prefix: str) -> Any:
    start, end = prefix_range(prefix)
    return and_(col(word.word) >= start, col(word.word) < end)


def _with_all(prefixes: list[str]) -> Any:
    """Return the statement for the ids of returns that have a word with each of the prefixes.

    A join, so that the database begins with the rarest; where it can't know which that is, with the longest.
    """
    first, *others = (aliased(SearchWord) for _ in prefixes)
    chosen: Any = select(first.return_id)
    for other in others:
        chosen = chosen.join(other, col(other.return_id) == col(first.return_id))
    for word, prefix in zip((first, *others), sorted(prefixes, key=len, reverse=True), strict=True):
        chosen = chosen.where(_begins(word, prefix))
    return chosen
