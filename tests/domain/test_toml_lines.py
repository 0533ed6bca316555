"""The line finder: whatever way TOML writes a key, its line is found."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.policy.toml_lines import Where, dotted_name, line_of, lines

TEXT = '''\
# a = 1
top = "x # no comment"   # [no.table]

dotted.key."quoted \\u0041" = 1
[table.inner]  # comment
a = { b = 1, c = { d = [1,
  2] } }
long = """
[not.a.table]
b = 3 \\"
"""
literal = \'\'\'
c = 4\'\'\'
after = 2020-01-01T00:00:00Z
array = [
    "one", # ]
    'two',
    [ {x = 1},
      {x = 2} ],
]
[[list]]
[table]
late = ""
'''

EXPECTED: dict[Where, int] = {
    ("top",): 2,
    ("dotted",): 4,
    ("dotted", "key"): 4,
    ("dotted", "key", "quoted A"): 4,
    ("table",): 5,
    ("table", "inner"): 5,
    ("table", "inner", "a"): 6,
    ("table", "inner", "a", "b"): 6,
    ("table", "inner", "a", "c", "d"): 6,
    ("table", "inner", "a", "c", "d", 1): 7,
    ("table", "inner", "long"): 8,
    ("table", "inner", "literal"): 12,
    ("table", "inner", "after"): 14,
    ("table", "inner", "array"): 15,
    ("table", "inner", "array", 0): 16,
    ("table", "inner", "array", 1): 17,
    ("table", "inner", "array", 2, 1, "x"): 19,
    ("list",): 21,
    ("table", "late"): 23,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_way_to_write_a_key_is_found(newline: str) -> None:
    text = TEXT.replace("\n", newline)
    tomllib.loads(text)
    found = lines(text)
    assert {where: found.get(where) for where in EXPECTED} == EXPECTED


def test_what_only_looks_like_a_key_is_not() -> None:
    assert not {("a",), ("no",), ("not",), ("b",), ("c",)} & set(lines(TEXT))


@pytest.mark.parametrize("text", ["", "\n# only a comment", "a=1", "[t]", "a.b=[]", "a={}", 'a=""', "a = ''''''"])
def test_short_texts_end(text: str) -> None:
    assert all(line == 1 for line in lines(text).values())


def test_a_place_that_is_not_written_has_the_line_around_it() -> None:
    places = lines("\n[a.b]\nc = 1\n")
    assert line_of(places, ("a", "b", "missing", 3)) == 2
    assert line_of(places, ("nowhere",)) == 1


@pytest.mark.parametrize(
    "where, written",
    [
        (("a", "b_c", "d-1"), "a.b_c.d-1"),
        (("a", 1, "b"), "a[1].b"),
        (("a b", ""), '"a b".""'),
        (("two\nlines",), '"two\\nlines"'),
    ],
)
def test_places_are_named_as_toml_names_them(where: Where, written: str) -> None:
    assert dotted_name(where) == written


KEYS = st.sampled_from(["a", "b", "c-1", "'q'", '"q.r"', '"\\u0041"'])
VALUES = st.recursive(
    st.sampled_from(["1", "true", "-1.5e3", '"s"', "'l'", '"""\nm\n"""', "'''\nn'''", "1979-05-27"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda v: "[\n" + ",\n".join(v) + "]"),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.lists(KEYS, min_size=1, max_size=2), VALUES), max_size=6))
def test_every_key_that_tomllib_reads_is_found_at_its_line(pairs: list[tuple[list[str], str]]) -> None:
    text, expected = "", {}
    for keys, value in pairs:
        line = f"{'.'.join(keys)} = {value}\n"
        try:
            tomllib.loads(text + line)
        except tomllib.TOMLDecodeError:
            continue  # the key is taken already
        names = tuple(_only(tomllib.loads(f"{key} = 0")) for key in keys)
        expected[names] = text.count("\n") + 1
        text += line
    found = lines(text)
    assert {where: found[where] for where in expected} == expected


def _only(table: dict[str, Any]) -> str:
    (name,) = table
    return name
