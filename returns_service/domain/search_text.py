"""Text as it is searched: one rule for what is stored and for what a person types, the same on every database.

NFKC and case folding (Unicode Standard, section 3.13: https://www.unicode.org/versions/latest/core-spec/chapter-3/).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable

from returns_service.domain.scan import BLANK_LETTERS

LONGEST_WORD = 120  # characters; a longer one is found by its beginning
MOST_STARTS = 8  # places inside one word at which a search may begin
METADATA_DIGITS = 24  # of a hash: two values with the same are told apart by the row itself
LAST = "\U0010ffff"  # no text holds it (Unicode calls it a noncharacter), so it sorts behind every continuation
INVISIBLE = ("Cc", "Cf")  # control and format characters: scanners and copied text bring them along


def normalise(text: str) -> str:
    """Return text in the one form that is compared: `Ä` and `ä`, `ﬁ` and `fi`, full width and half are the same."""
    if text.isascii() and text.isprintable():  # most codes are, and nothing of the rest changes those
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = (" " if is_blank(c) else c for c in folded if is_blank(c) or is_visible(c))
    return " ".join("".join(visible).split())


def is_blank(character: str) -> bool:
    """Return whether a character only separates words."""
    return character.isspace() or character in BLANK_LETTERS


def is_visible(character: str) -> bool:
    """Return whether a character counts in a comparison."""
    return character != LAST and unicodedata.category(character) not in INVISIBLE


def words_in(text: str) -> list[str]:
    """Return the words of what a person types, each once."""
    return list(dict.fromkeys(word[:LONGEST_WORD] for word in normalise(text).split()))


def join_words(text: str) -> str:
    """Return text as one word: labels print `1Z 999 AA1` where a scanner reads `1z999aa1`."""
    return normalise(text).replace(" ", "")[:LONGEST_WORD]


def searchable(texts: Iterable[str | None], codes: Iterable[str | None] = ()) -> set[str]:
    """Return the words by whose prefixes something is found. `codes` are found without their blanks too."""
    known = [code for code in codes if code]
    words = {word for text in (*texts, *known) if text for word in normalise(text).split()}
    found = {start[:LONGEST_WORD] for word in words for start in starts(word)}
    return found | {code for code in map(join_words, known) if code}


def metadata_word(key: str, value: str) -> str:
    """Return the word by which something with this metadata is found. Nobody can type it: of control characters none is
    left in what is searched.
    """
    return "\x02" + hashlib.sha256(json.dumps([key, value]).encode()).hexdigest()[:METADATA_DIGITS]


def starts(word: str) -> list[str]:
    """Return a word from each place that a search may begin at: `a-17@shop.eu`, `17@shop.eu`, `shop.eu`, `eu`."""
    places = [i for i in range(1, len(word)) if word[i].isalnum() and not word[i - 1].isalnum()]
    return [word, *(word[i:] for i in places[:MOST_STARTS])]


def prefix_range(word: str) -> tuple[str, str]:
    """Return the bounds of all words that begin with `word`, by code point: at or after the first, before the second.

    A range, since LIKE needs another index on each database, and its pattern characters escaped.
    """
    return word, word + LAST
