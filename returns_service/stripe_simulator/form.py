"""Form bodies and query strings, as Stripe reads them, and the checks on each parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Union
from urllib.parse import parse_qsl

from .refusals import Refusal, invalid
from .shelf import Cursor, Shelf, Span

Form = dict[str, Union[str, "Form"]]

MAX_FIELDS = 1000
METADATA_KEYS, METADATA_KEY_LENGTH, METADATA_VALUE_LENGTH = 50, 40, 500
LARGEST = 10**15  # minor units or seconds; beyond it, no number of ours is meant

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_WHOLE = re.compile(r"-?[0-9]{1,19}")


def decoded(*texts: str) -> Form:
    """Return the nested form of urlencoded `texts`.

    `a[0]=x&a[1]=y` and `a[]=x&a[]=y` give the same: a mapping from position to value. Which names are lists is
    known only to the endpoint, since `metadata[0]=x` is a key named "0".
    """
    form: Form = {}
    for text in texts:
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except ValueError:
            raise invalid("Invalid request: the parameters could not be decoded.") from None
        for name, value in pairs:
            _put(form, name, value)
    return form


def _put(form: Form, name: str, value: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None:
        form[name] = value
        return
    path = [match[1], *_PART.findall(match[2])]
    for step in path[:-1]:
        inner = form.setdefault(step or str(len(form)), {})
        if isinstance(inner, str):
            raise invalid(f"Invalid request: '{name}' is both a value and an object.", path[0])
        form = inner
    form[path[-1] or str(len(form))] = value


class Params:
    """The parameters of one call, checked as they are taken. Each check refuses as Stripe does."""

    def __init__(self, form: Form, allowed: Iterable[str]) -> None:
        known = {*allowed, "expand"}
        unknown = [name for name in form if name not in known]
        if unknown:
            more = "" if len(unknown) == 1 else "s"
            raise invalid(f"Received unknown parameter{more}: {', '.join(unknown)}", unknown[0], "parameter_unknown")
        self.form = form

    def text(self, name: str) -> str | None:
        """A non-empty text, or None if not given."""
        value = self.form.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {value}", name)
        if not value:
            raise invalid(
                f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{name}' cannot be unset. You should remove '{name}' from your request or "
                "supply a non-empty value.", name, "parameter_invalid_empty",
            )  # fmt: skip
        return value

    def required(self, name: str) -> str:
        """A non-empty text that must be there."""
        value = self.text(name)
        if value is None:
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """One of `choices`, or None."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise invalid(f"Invalid {name}: must be one of {', '.join(choices[:-1])}, or {choices[-1]}", name)
        return value

    def required_integer(self, name: str, minimum: int, maximum: int = LARGEST) -> int:
        """A whole number within its bounds that must be there."""
        number = self.integer(name, minimum, maximum)
        if number is None:
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        return number

    def integer(self, name: str, minimum: int, maximum: int = LARGEST) -> int | None:
        """A whole number within its bounds, or None."""
        text = self.text(name)
        if text is None:
            return None
        if not _WHOLE.fullmatch(text):
            raise invalid(f"Invalid integer: {text}", name, "parameter_invalid_integer")
        number = int(text)
        if number < minimum:
            words = f"This value must be greater than or equal to {minimum}."
            raise invalid(words, name, "parameter_invalid_integer")
        if number > maximum:
            words = f"This value must be less than or equal to {maximum} (it currently is '{number}')."
            raise invalid(words, name, "parameter_invalid_integer")
        return number

    def boolean(self, name: str) -> bool | None:
        """`true` or `false`, or None."""
        text = self.text(name)
        if text not in (None, "true", "false"):
            raise invalid(f"Invalid boolean: {text}", name)
        return None if text is None else text == "true"

    def texts(self, name: str) -> list[str]:
        """A list, in either notation; empty if not given."""
        value = self.form.get(name, {})
        if isinstance(value, str):
            raise invalid("Invalid array", name)
        found = []
        for part in value.values():
            if not isinstance(part, str):
                raise invalid("Invalid array", name)
            found.append(part)
        return found

    def metadata(self) -> dict[str, str] | None:
        """The metadata given, limits checked; a key to unset has the value ''. None: leave it. {}: unset all."""
        value = self.form.get("metadata")
        if value is None or value == "":
            return None if value is None else {}
        if isinstance(value, str):
            raise invalid("Invalid object", "metadata")
        found: dict[str, str] = {}
        for key, part in value.items():
            param = f"metadata[{key}]"
            if not isinstance(part, str):
                raise invalid("Metadata values must be strings, but got a hash.", param)
            if len(key) > METADATA_KEY_LENGTH:
                raise invalid(
                    f"Metadata keys must be {METADATA_KEY_LENGTH} characters or less; this key is {len(key)} "
                    "characters.", param,
                )  # fmt: skip
            if len(part) > METADATA_VALUE_LENGTH:
                raise invalid(
                    f"Metadata values can have up to {METADATA_VALUE_LENGTH} characters, but you passed in a "
                    f"value that is {len(part)} characters.", param,
                )  # fmt: skip
            found[key] = part
        return found

    def span(self) -> Span:
        """`created`: one second, or a range by gt, gte, lt, lte (seconds since 1970, UTC)."""
        value = self.form.get("created")
        if value is None:
            return Span()
        if isinstance(value, str):
            second = self.integer("created", 0)
            return Span(second, second)
        bounds = Params(value, ("gt", "gte", "lt", "lte"))
        at = {name: bounds.integer(name, 0) for name in ("gt", "gte", "lt", "lte")}
        firsts = [at["gte"], None if at["gt"] is None else at["gt"] + 1]
        lasts = [at["lte"], None if at["lt"] is None else at["lt"] - 1]
        return Span(
            max((second for second in firsts if second is not None), default=None),
            min((second for second in lasts if second is not None), default=None),
        )

    def cursor(self, shelf: Shelf) -> Cursor:
        """`limit`, `starting_after`, `ending_before`, which must name objects of `shelf`."""
        limit = self.integer("limit", 1, 100)
        after, before = self.text("starting_after"), self.text("ending_before")
        if after is not None and before is not None:
            words = "You may only specify one of these parameters: starting_after, ending_before."
            raise invalid(words, "ending_before", "parameters_exclusive")
        for param, name in (("starting_after", after), ("ending_before", before)):
            if name is not None and name not in shelf:
                raise Refusal(404, f"No such {shelf.kind}: '{name}'", "resource_missing", param, stored=False)
        return Cursor(10 if limit is None else limit, after, before)


def merged(old: Mapping[str, str], given: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata after an update: keys are added, replaced, or unset by ''; {} unsets all.

    Refuses more than 50 keys in the end.
    """
    if given is None:
        return dict(old)
    found = {key: value for key, value in {**old, **given}.items() if value} if given else {}
    if len(found) > METADATA_KEYS:
        words = f"Metadata can have up to {METADATA_KEYS} keys; this object would have {len(found)}."
        raise invalid(words, "metadata")
    return found
