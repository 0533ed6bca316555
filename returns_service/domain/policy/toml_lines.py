"""Where each setting of a TOML text stands, so that a wrong one can be named by its line.

Why: tomllib says what a text means but not where. This scanner reads only text that tomllib has taken, so it
checks nothing and needs to know no more than where keys and values begin and end.
"""

from __future__ import annotations

import json
import re
import tomllib

Where = tuple[str | int, ...]  # keys from the root; an int is a place in an array

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\r\n]*")


def line_of(places: dict[Where, int], where: Where) -> int:
    """Return the line of `where`, or of the nearest table around it that is written down; 1 if none is."""
    while where and where not in places:
        where = where[:-1]
    return places.get(where, 1)


def dotted_name(where: Where) -> str:
    """Return `where` as TOML writes it: `restocking.opened.basis_points`, `excluded_skus[1]`."""
    parts = []
    for part in where:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            parts.append(("." if parts else "") + (part if _BARE.fullmatch(part) else json.dumps(part)))
    return "".join(parts)


def lines(text: str) -> dict[Where, int]:
    """Return the line (from 1) on which each key, table and array element of a valid TOML `text` first stands."""
    return _Scanner(text).read()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[Where, int] = {}

    def read(self) -> dict[Where, int]:
        table: Where = ()
        self.skip()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                brackets = 2 if self.text.startswith("[[", self.at) else 1
                self.at += brackets
                table = self.key(())
                self.at += brackets
            else:
                self.pair(table)
            self.skip()
        return self.places

    def note(self, where: Where) -> None:
        self.places.setdefault(where, self.text.count("\n", 0, self.at) + 1)

    def skip(self) -> None:
        """Pass over blanks, line ends and comments."""
        self.at = self.match(_BETWEEN).end()

    def match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"not TOML at {self.at}")
        return found

    def key(self, table: Where) -> Where:
        """Read a key, dotted or not, noting each of its parts; leaves `at` behind it and the blanks."""
        where = table
        while True:
            self.skip()
            quoted = self.text[self.at] in "\"'"
            word = self.match(_STRING if quoted else _BARE)
            where += (tomllib.loads(f"key = {word[0]}")["key"] if quoted else word[0],)
            self.note(where)
            self.at = word.end()
            self.skip()
            if self.text[self.at] != ".":
                return where
            self.at += 1

    def pair(self, table: Where) -> None:
        where = self.key(table)
        self.at += 1  # the equals sign
        self.skip()
        self.value(where)

    def value(self, where: Where) -> None:
        opened = self.text[self.at]
        if opened in "[{":
            self.at += 1
            self.inside(where, "]" if opened == "[" else "}")
        else:
            self.at = self.match(_STRING if opened in "\"'" else _SCALAR).end()

    def inside(self, where: Where, closing: str) -> None:
        """Read the elements of an array, or the pairs of an inline table, and its closing bracket."""
        index = 0
        self.skip()
        while self.text[self.at] != closing:
            if closing == "]":
                self.note((*where, index))
                self.value((*where, index))
                index += 1
            else:
                self.pair(where)
            self.skip()
            if self.text[self.at] == ",":
                self.at += 1
                self.skip()
        self.at += 1
