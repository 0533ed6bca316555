"""What a query string's parameters are: each declared beside its operation, with the values it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from returns_service.return_case.views.fields import CHARGE_PATTERN, ID_PATTERN, PAYMENT_INTENT_PATTERN
from returns_service.web.operations.query_string import COMPARISONS, Form, Query, wrong

LONGEST_VALUE = 1000
STRIPE_PATTERNS = {"pi": PAYMENT_INTENT_PATTERN, "ch": CHARGE_PATTERN}  # its ids have no length of their own
LATEST_SECONDS = 99_999_999_999  # Unix seconds of eleven digits: the year 5138
WHEN = {"gte": "at or after", "gt": "after", "lte": "at or before", "lt": "before"}
UNIX_OR_RFC3339 = [
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": 0, "maximum": LATEST_SECONDS},
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it says, the JSON Schema of its value, and how it is written.

    `listed`: several values, separated by commas or sent one by one. `keyed`: a value for each key, as in `name[key]`.
    """

    description: str
    schema: Mapping[str, Any]
    form: Form = "single"


def text(description: str) -> Parameter:
    """Declare a parameter that takes any text."""
    return Parameter(description, {"type": "string", "maxLength": LONGEST_VALUE})


def one_of(description: str, words: Sequence[str]) -> Parameter:
    """Declare a parameter that takes one word of a closed list."""
    return Parameter(description, {"type": "string", "enum": list(words)})


def several_of(description: str, words: Sequence[str]) -> Parameter:
    """Declare a parameter that takes several words of a closed list."""
    items = {"type": "string", "enum": list(words)}
    said = f"{description} Several are separated by commas."
    return Parameter(said, {"type": "array", "items": items, "minItems": 1, "maxItems": len(words)}, "listed")


def id_of(prefix: str, description: str) -> Parameter:
    """Declare a parameter that takes an id of one kind, ours or Stripe's."""
    if (pattern := STRIPE_PATTERNS.get(prefix)) is not None:
        return Parameter(description, {"type": "string", "pattern": pattern, "maxLength": LONGEST_VALUE})
    return Parameter(description, {"type": "string", "pattern": ID_PATTERN.format(prefix)})


def check_ids(query: Query, parameters: Mapping[str, Parameter]) -> None:
    """Raise Problem invalid_request for what can't be an id of its kind: a list would be empty, a stream silent."""
    for name, one in parameters.items():
        pattern, value = one.schema.get("pattern"), query.get(name)
        if pattern is not None and value is not None and not re.fullmatch(pattern, value):
            prefixes = pattern.removeprefix("^").partition("_")[0].strip("()").split("|")
            raise wrong(name, f"Must be an id, {' or '.join(f'{prefix}_…' for prefix in prefixes)}")


def times(**said: str) -> dict[str, Parameter]:
    """Declare the filters by time of the fields named: `created[gte]`, `created[gt]`, and so on."""
    return {
        f"{name}[{comparison}]": Parameter(
            f"Only those {event} {WHEN[comparison]} this time: RFC 3339 with its zone, or Unix seconds.",
            {"anyOf": UNIX_OR_RFC3339},
        )
        for name, event in said.items()
        for comparison in COMPARISONS
    }


METADATA = Parameter(
    "Only those whose metadata has this value under this key: `metadata[key]=value`.",
    {"type": "object", "additionalProperties": {"type": "string", "maxLength": LONGEST_VALUE}},
    "keyed",
)
CREATED = times(created="made")
CREATED_AND_UPDATED = times(created="made", updated="last changed")
