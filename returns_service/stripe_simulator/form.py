"""Form bodies and query strings as Stripe reads them, and the checks on each parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Union
from urllib.parse import parse_qsl

from .collection import Collection, Cursor, Span
from .refusals import Refusal, param_error

Form = dict[str, Union[str, "Form"]]

MAX_FIELDS = 1000
METADATA_KEYS, METADATA_KEY_LENGTH, METADATA_VALUE_LENGTH = 50, 40, 500  # docs.stripe.com/api/metadata
LARGEST = 10**15  # minor units or seconds; no parameter means a number beyond it
MAX_DEPTH = 8  # of `a[b][c]`; Stripe's own parameters are less deep

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_WHOLE = re.compile(r"-?[0-9]{1,19}")


def decode_form(*texts: str) -> Form:
    """Return the nested form of urlencoded `texts`.

    `a[0]=x&a[1]=y` and `a[]=x&a[]=y` give the same: a mapping from position to value. Only the endpoint knows which
    names are lists, since `metadata[0]=x` is a key named "0".
    """
    form: Form = {}
    for text in texts:
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except ValueError:
            raise param_error("Invalid request: the parameters could not be decoded.") from None
        for name, value in pairs:
            _put(form, name, value)
    return form


def _put(form: Form, name: str, value: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None:
        form[name] = value
        return
    path = [match[1], *_PART.findall(match[2])]
    if len(path) > MAX_DEPTH:
        raise param_error(f"Invalid request: a parameter may be nested up to {MAX_DEPTH} levels.", match[1][:40])
    for step in path[:-1]:
        inner = form.setdefault(step or str(len(form)), {})
        if isinstance(inner, str):
            raise param_error(f"Invalid request: '{name}' is both a value and an object.", path[0])
        form = inner
    form[path[-1] or str(len(form))] = value


class Params:
    """The parameters of one call. Each method checks one of them and refuses a wrong value as Stripe does."""

    def __init__(self, form: Form, allowed: Iterable[str]) -> None:
        known = {*allowed, "expand"}
        unknown = [name for name in form if name not in known]
        if unknown:
            more = "" if len(unknown) == 1 else "s"
            words = f"Received unknown parameter{more}: {', '.join(unknown)}"
            raise param_error(words, unknown[0], "parameter_unknown")
        self.form = form

    def get_text(self, name: str) -> str | None:
        """Return a non-empty text, or None if the caller left it out."""
        value = self.form.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise param_error(f"Invalid string: {value}", name)
        if not value:
            raise param_error(
                f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{name}' cannot be unset. You should remove '{name}' from your request or "
                "supply a non-empty value.", name, "parameter_invalid_empty",
            )  # fmt: skip
        return value

    def require_text(self, name: str) -> str:
        """Return a non-empty text; the caller must send it."""
        value = self.get_text(name)
        if value is None:
            raise param_error(f"Missing required param: {name}.", name, "parameter_missing")
        return value

    def get_choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """Return one of `choices`, or None."""
        value = self.get_text(name)
        if value is not None and value not in choices:
            raise param_error(f"Invalid {name}: must be one of {', '.join(choices[:-1])}, or {choices[-1]}", name)
        return value

    def require_integer(self, name: str, minimum: int, maximum: int = LARGEST) -> int:
        """Return a whole number within its bounds; the caller must send it."""
        number = self.get_integer(name, minimum, maximum)
        if number is None:
            raise param_error(f"Missing required param: {name}.", name, "parameter_missing")
        return number

    def get_integer(self, name: str, minimum: int, maximum: int = LARGEST) -> int | None:
        """Return a whole number within its bounds, or None."""
        text = self.get_text(name)
        if text is None:
            return None
        if not _WHOLE.fullmatch(text):
            raise param_error(f"Invalid integer: {text}", name, "parameter_invalid_integer")
        number = int(text)
        if number < minimum:
            words = f"This value must be greater than or equal to {minimum}."
            raise param_error(words, name, "parameter_invalid_integer")
        if number > maximum:
            words = f"This value must be less than or equal to {maximum} (it currently is '{number}')."
            raise param_error(words, name, "parameter_invalid_integer")
        return number

    def get_boolean(self, name: str) -> bool | None:
        """Return True for `true`, False for `false`, or None."""
        text = self.get_text(name)
        if text not in (None, "true", "false"):
            raise param_error(f"Invalid boolean: {text}", name)
        return None if text is None else text == "true"

    def get_texts(self, name: str) -> list[str]:
        """Return a list of texts, sent in either notation; empty if the caller left it out."""
        value = self.form.get(name, {})
        if isinstance(value, str):
            raise param_error("Invalid array", name)
        texts = []
        for part in value.values():
            if not isinstance(part, str):
                raise param_error("Invalid array", name)
            texts.append(part)
        return texts

    def get_object(self, name: str) -> Form | None:
        """Return a nested form, or None."""
        value = self.form.get(name)
        if isinstance(value, str):
            raise param_error("Invalid object", name)
        return value

    def get_metadata(self) -> dict[str, str] | None:
        """Return the metadata sent. A key to unset has the value ''; {} unsets all; None leaves all as it is."""
        value = self.form.get("metadata")
        if value is None or value == "":
            return None if value is None else {}
        if isinstance(value, str):
            raise param_error("Invalid object", "metadata")
        metadata: dict[str, str] = {}
        for key, part in value.items():
            param = f"metadata[{key}]"
            if not isinstance(part, str):
                raise param_error("Metadata values must be strings, but got a hash.", param)
            if len(key) > METADATA_KEY_LENGTH:
                raise param_error(
                    f"Metadata keys must be {METADATA_KEY_LENGTH} characters or less; this key is {len(key)} "
                    "characters.", param,
                )  # fmt: skip
            if len(part) > METADATA_VALUE_LENGTH:
                raise param_error(
                    f"Metadata values can have up to {METADATA_VALUE_LENGTH} characters, but you passed in a "
                    f"value that is {len(part)} characters.", param,
                )  # fmt: skip
            metadata[key] = part
        return metadata

    def get_span(self) -> Span:
        """Return `created`: one second, or a range by gt, gte, lt, lte (seconds since 1970, UTC)."""
        value = self.form.get("created")
        if value is None:
            return Span()
        if isinstance(value, str):
            second = self.get_integer("created", 0)
            return Span(second, second)
        bounds = Params(value, ("gt", "gte", "lt", "lte"))
        at = {name: bounds.get_integer(name, 0) for name in ("gt", "gte", "lt", "lte")}
        firsts = [at["gte"], None if at["gt"] is None else at["gt"] + 1]
        lasts = [at["lte"], None if at["lt"] is None else at["lt"] - 1]
        return Span(
            max((second for second in firsts if second is not None), default=None),
            min((second for second in lasts if second is not None), default=None),
        )

    def get_cursor(self, collection: Collection) -> Cursor:
        """Return `limit`, `starting_after` and `ending_before`; the latter two must name objects of `collection`."""
        limit = self.get_integer("limit", 1, 100)
        after, before = self.get_text("starting_after"), self.get_text("ending_before")
        if after is not None and before is not None:
            words = "You may only specify one of these parameters: starting_after, ending_before."
            raise param_error(words, "ending_before", "parameters_exclusive")
        for param, name in (("starting_after", after), ("ending_before", before)):
            if name is not None and name not in collection:
                raise Refusal(404, f"No such {collection.kind}: '{name}'", "resource_missing", param, stored=False)
        return Cursor(10 if limit is None else limit, after, before)


def merge_metadata(old: Mapping[str, str], changes: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata after an update: keys are added, replaced, or unset by ''; {} unsets all, None changes nothing.

    Refuses a result of more than 50 keys.
    """
    if changes is None:
        return dict(old)
    metadata = {key: value for key, value in {**old, **changes}.items() if value} if changes else {}
    if len(metadata) > METADATA_KEYS:
        words = f"Metadata can have up to {METADATA_KEYS} keys; this object would have {len(metadata)}."
        raise param_error(words, "metadata")
    return metadata
