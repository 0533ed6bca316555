"""A policy from TOML, or from the snapshot on a return: every value checked, every mistake named."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from returns_service.domain.policy import toml_lines
from returns_service.domain.policy.shapes import (
    ACCEPTABLE,
    Policy,
    Reason,
    Restocking,
)
from returns_service.domain.policy.toml_lines import Where, dotted_name
from returns_service.domain.vocabulary import (
    CONDITIONS,
    EXTERNAL_REFUNDS,
    REFUND_ON,
    SHIPPING_REFUNDED,
    STRIPE_REASONS,
    WINDOW_FROM,
    Condition,
    Word,
    find_word,
)

MOST_DAYS = 36_500
MOST_DELAY_SECONDS = 90 * 86_400  # the dock needs hours; past a season the card may be gone
BYTE_ORDER_MARK = "\ufeff"
MOST_AMOUNT = 10**12  # above anything Stripe moves, far below what a database's integer holds

T = TypeVar("T")
Check = Callable[[Where, object], T]


class PolicyError(ValueError):
    """The policy can't be read. `problems`: all that is wrong, each with file, line and setting."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def parse(text: str | bytes, path: str) -> Policy:
    """Return the policy that TOML `text` says, as a file holds it or read; `path` is only named in errors.

    Raises PolicyError with all that is wrong, each as `path:line: setting: what`.
    """
    if isinstance(text, bytes):
        text = _decode(text, path)
    text = text.removeprefix(BYTE_ORDER_MARK)  # editors on Windows write one; TOML doesn't know it
    try:
        settings = tomllib.loads(text)
        places = toml_lines.lines(text)
    except ValueError as error:  # tomllib's own, and Python's on a number of thousands of digits
        raise PolicyError([f"{path}:{_syntax_line(text, str(error))}: not TOML: {error}"]) from None
    except RecursionError:
        raise PolicyError([f"{path}:1: not a policy: nested too deeply"]) from None
    reading = _Reading()
    policy = reading.policy(settings)
    if reading.problems:
        found = sorted((toml_lines.line_of(places, p.where), dotted_name(p.where), p.words) for p in reading.problems)
        raise PolicyError([f"{path}:{line}: {name}: {words}" for line, name, words in found])
    return policy


def _decode(raw: bytes, path: str) -> str:
    try:
        return raw.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError([f"{path}:{line}: not UTF-8, as TOML has to be: {error.reason}"]) from None


def from_dict(stored: Mapping[str, Any]) -> Policy:
    """Return the policy that `to_dict` stored, by this release or another.

    A missing setting has its default, a setting that another release added is passed over. Raises PolicyError on a
    value that can't be.
    """
    reading = _Reading()
    policy = reading.policy(stored)
    problems = [f"{dotted_name(p.where)}: {p.words}" for p in reading.problems if not p.unknown]
    if problems:
        raise PolicyError(problems)
    return policy


def from_snapshot(stored: Mapping[str, Any]) -> Policy:
    """Return the policy of a return's snapshot, as `from_dict`: most returns share one, which is read once."""
    return _from_json(msgspec.json.encode(stored))


@lru_cache(maxsize=64)
def _from_json(snapshot: bytes) -> Policy:
    return from_dict(msgspec.json.decode(snapshot))


def _syntax_line(text: str, message: str) -> int:
    found = re.search(r"at line (\d+)", message)
    return int(found[1]) if found else max(1, len(text.splitlines()))


def is_time_zone(name: str) -> bool:
    """Return whether the IANA database has such a time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # no such name, a folder of the database, a path out of it
        return False
    return True


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(known)}"


def _as_found(value: object) -> str:
    """Return a refused value as TOML writes it, cut where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list):
        return "a table" if isinstance(value, Mapping) else "an array"
    if isinstance(value, int) and abs(value) > MOST_AMOUNT:
        return "one so large"  # Python refuses to print the largest
    words = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    return words if len(words) <= 40 else words[:39] + "…"


@dataclass(frozen=True, slots=True)
class _Problem:
    where: Where
    words: str
    unknown: bool = False  # a name no check is for, as against a value that can't be


class _Reading:
    """One pass over a policy's plain values: each becomes typed, or a problem with the place it stands at.

    A check returns some value of its type even where it found a problem: a policy with problems isn't used.
    """

    def __init__(self) -> None:
        self.problems: list[_Problem] = []

    def policy(self, settings: Mapping[str, object]) -> Policy:
        checks: dict[str, Check[object]] = {
            "window_days": self.whole(MOST_DAYS),
            "window_from": self.one_of(WINDOW_FROM),
            "time_zone": self.time_zone,
            "external_refunds": self.one_of(EXTERNAL_REFUNDS),
            "refund_on": self.one_of(REFUND_ON),
            "refund_delay": self.whole(MOST_DELAY_SECONDS),
            "accepted_conditions": self.list_of(self.condition),
            "excluded_skus": self.list_of(self.words),
            "shipping_refunded": self.one_of(SHIPPING_REFUNDED),
            "auto_approve_below": self.amounts,
            "second_person_above": self.amounts,
            "label_cost": self.amounts,
            "refund_rate_alert": self.rate,
            "restocking": self.restocking,
            "reasons": self.reasons,
        }
        return Policy(**self.known_values((), settings, checks))

    def fail(self, where: Where, words: str) -> None:
        self.problems.append(_Problem(where, words))

    def table(self, where: Where, value: object) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        self.fail(where, f"must be a table, not {_as_found(value)}")
        return {}

    def known_values(self, where: Where, value: object, checks: Mapping[str, Check[object]]) -> dict[str, Any]:
        """Return the checked values of a table whose names are given."""
        taken: dict[str, Any] = {}
        for name, inner in self.table(where, value).items():
            if name in checks:
                taken[name] = checks[name]((*where, name), inner)
            else:
                words = f"unknown setting, {_nearest(name, list(checks))}"
                self.problems.append(_Problem((*where, name), words, unknown=True))
        return taken

    def whole(self, most: int) -> Check[int]:
        def check(where: Where, value: object) -> int:
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
                return value
            self.fail(where, f"must be a whole number from 0 to {most}, not {_as_found(value)}")
            return 0

        return check

    def one_of(self, words: Sequence[Word]) -> Check[Word]:
        def check(where: Where, value: object) -> Word:
            if (word := find_word(words, value)) is not None:
                return word
            self.fail(where, f"must be one of {', '.join(words)}, not {_as_found(value)}")
            return words[0]

        return check

    def list_of(self, inner: Check[T]) -> Check[tuple[T, ...]]:
        def check(where: Where, value: object) -> tuple[T, ...]:
            if not isinstance(value, list | tuple):
                self.fail(where, f"must be an array, not {_as_found(value)}")
                return ()
            taken = tuple(inner((*where, index), element) for index, element in enumerate(value))
            for index, element in enumerate(value):
                if element in value[:index]:
                    self.fail((*where, index), f"stands there twice: {_as_found(element)}")
            return taken

        return check

    def words(self, where: Where, value: object) -> str:
        if isinstance(value, str) and value.strip():
            return value
        self.fail(where, f"must be words, not {_as_found(value)}")
        return "-"

    def time_zone(self, where: Where, value: object) -> str:
        if isinstance(value, str) and is_time_zone(value):
            return value
        near = difflib.get_close_matches(str(value), sorted(available_timezones()), n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        self.fail(where, f'must be a time zone like "Europe/Berlin", not {_as_found(value)}{hint}')
        return "UTC"

    def flag(self, where: Where, value: object) -> bool:
        if isinstance(value, bool):
            return value
        self.fail(where, f"must be true or false, not {_as_found(value)}")
        return False

    def rate(self, where: Where, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        self.fail(where, f"must be a number from 0 to 1, not {_as_found(value)}")
        return 0.0

    def condition(self, where: Where, value: object) -> Condition:
        if (condition := find_word(ACCEPTABLE, value)) is not None:
            return condition
        if isinstance(value, str) and value in CONDITIONS:
            self.fail(where, f"{value} can't be accepted: there is nothing of the customer's to pay for")
        else:
            self.fail(where, f"must be one of {', '.join(ACCEPTABLE)}, not {_as_found(value)}")
        return ACCEPTABLE[0]

    def amounts(self, where: Where, value: object) -> dict[str, int]:
        taken: dict[str, int] = {}
        amount = self.whole(MOST_AMOUNT)
        for currency, inner in self.table(where, value).items():
            if not re.fullmatch(r"[a-z]{3}", currency):
                hint = f", did you mean {currency.lower()}?" if re.fullmatch(r"[A-Za-z]{3}", currency) else ""
                self.fail((*where, currency), f"must be a currency, three lowercase letters{hint}")
            taken[currency] = amount((*where, currency), inner)
        return taken

    def restocking(self, where: Where, value: object) -> dict[str, Restocking]:
        taken: dict[str, Restocking] = {}
        checks: dict[str, Check[object]] = {"basis_points": self.whole(10_000), "fixed": self.amounts}
        for condition, inner in self.table(where, value).items():
            place = (*where, condition)
            if condition not in ACCEPTABLE:
                known = f"a fee is for one of {', '.join(ACCEPTABLE)}"
                near = difflib.get_close_matches(condition, ACCEPTABLE, n=1)
                self.fail(place, f"unknown condition, did you mean {near[0]}?" if near else known)
            taken[condition] = Restocking(**self.known_values(place, inner, checks))
        return taken

    def reasons(self, where: Where, value: object) -> dict[str, Reason]:
        taken: dict[str, Reason] = {}
        checks: dict[str, Check[object]] = {
            "label": self.words,
            "stripe": self.one_of(STRIPE_REASONS),
            "restocking": self.flag,
        }
        for name, inner in self.table(where, value).items():
            place = (*where, name)
            if not name.strip():
                self.fail(place, "a reason needs a name")
            entry = self.known_values(place, inner, checks)
            if "label" not in entry:
                if isinstance(inner, Mapping):
                    self.fail((*place, "label"), "missing: the words that customers see")
                entry["label"] = "-"
            taken[name] = Reason(**entry)
        return taken
