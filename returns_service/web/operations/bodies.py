"""Bodies as they come in: one JSON object, read strictly; every wrong field is named at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, NoReturn, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from returns_service.commands.refund_metadata import LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE, METADATA_KEYS
from returns_service.domain.problems import Problem
from returns_service.return_case.views.fields import ID_PATTERN

LONGEST_BODY_BYTES = 1024 * 1024
# Parsing and checking take time for each value, and a megabyte has room for half a million: these keep any body from
# holding the process. A return of a thousand lines with all their fields and barcodes is well below.
MOST_VALUES = 50_000  # in one body
MOST_CONTAINERS = 12_000  # objects and arrays in one body
MOST_FIELDS = 1000  # of one object
LONGEST_NUMBER = 100  # digits: to write a long one back takes the square of its length
MOST_ERRORS = 50  # named in one answer; what comes after so many isn't looked at any more
MOST_AMOUNT = 10**12  # minor units; sums of a thousand lines still fit a 64-bit column
MOST_UNITS = 1_000_000
MOST_LINES = 1000
MOST_TRACKING_NUMBERS = 50
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
# pydantic's words for what is wrong, in ours; the rest is `invalid`.
ERROR_CODES = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "literal_error": "unknown_value",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_long",
    "too_short": "too_short",
    "greater_than_equal": "too_small",
    "less_than_equal": "too_large",
}
# pydantic's sentences in our words, with the numbers that it names; one that is missing here is as pydantic says it.
MESSAGES = {
    "missing": "Is required",
    "extra_forbidden": "There is no such field",
    "literal_error": "Must be {expected}",
    "string_type": "Must be a text",
    "string_too_long": "Must be at most {max_length} characters long",
    "string_too_short": "Must be {min_length} or more characters long",
    "string_pattern_mismatch": "Must match {pattern}",
    "list_type": "Must be a list",
    "too_long": "Must hold at most {max_length} entries",
    "too_short": "Must hold {min_length} or more entries",
    "dict_type": "Must be an object",
    "model_type": "Must be an object",
    "greater_than_equal": "Must be at least {ge}",
    "less_than_equal": "Must be at most {le}",
}


class Wrong(NamedTuple):
    """One thing that is wrong with a body."""

    param: str | None
    code: str
    message: str


@dataclass
class ErrorBudget:
    """How many more errors of one body are worth finding."""

    left: int = MOST_ERRORS


class Body(BaseModel):
    """What all bodies have in common: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _within_budget(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        budget = info.context
        if not isinstance(budget, ErrorBudget):
            return handler(data)
        if budget.left <= 0:
            return cls.__new__(cls)  # nobody gets to see it: the body is refused for what was found before
        try:
            return handler(data)
        except ValidationError as error:
            budget.left -= error.error_count()
            raise

    @classmethod
    def also_wrong(cls, found: Mapping[str, Any]) -> list[Wrong]:
        """Return what is wrong with fields taken together; told beside what is wrong with each."""
        return []


B = TypeVar("B", bound=Body)


class Batch(Body):
    """Several bodies of another kind, each read by itself: a wrong one is a result, and stops no other."""

    items: list[dict[str, Any]]


def require_integer(value: Any) -> Any:
    """Let only a JSON integer through: not `true`, "5" or 1.0."""
    if type(value) is not int:
        raise PydanticCustomError("not_whole", "Must be a whole number, written as one")
    return value


def refuse_nul(text: str) -> str:
    """Refuse the NUL character, which no database text can hold."""
    if "\0" in text:
        raise PydanticCustomError("nul", "Must not contain the NUL character")
    return text


def refuse_invisible(text: str) -> str:
    """Refuse what nobody could read, such as a zero-width space alone: a decision's reason is kept for people."""
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise PydanticCustomError("invisible", "Must hold a character that can be seen")
    return text


def parse_time(value: Any) -> Any:
    """Read an RFC 3339 time; one without a zone means nothing."""
    if isinstance(value, datetime):
        return value
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
        if time is not None and time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("not_a_time", "Must be an RFC 3339 time with its zone, like 2026-01-02T03:04:05Z")


def once_each(texts: list[str]) -> list[str]:
    """Return texts in their order, each once."""
    return list(dict.fromkeys(texts))


def plausible_email(text: str) -> str:
    """Refuse what no mail could be sent to."""
    if not EMAIL.fullmatch(text):
        raise PydanticCustomError("not_an_email", "Must be an e-mail address")
    return text


Clean = AfterValidator(refuse_nul)
Visible = AfterValidator(refuse_invisible)
# Bounds stand before the validator: behind it they would be in the contract as `ge` and `le`, which mean nothing there.
Amount = Annotated[int, Field(ge=0, le=MOST_AMOUNT), BeforeValidator(require_integer)]
Money = Annotated[int, Field(ge=1, le=MOST_AMOUNT), BeforeValidator(require_integer)]
Units = Annotated[int, Field(ge=1, le=MOST_UNITS), BeforeValidator(require_integer)]
# What a scanner reads: as it is, since the receipt keeps it so.
Scan = Annotated[str, StringConstraints(min_length=1, max_length=200), Clean]
# Order ids, SKUs, references: trimmed, since labels and sheets bring blanks along.
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), Clean, Visible]
Person = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True), Clean]
TrackingNumbers = Annotated[list[Name], Field(max_length=MOST_TRACKING_NUMBERS), AfterValidator(once_each)]
Title = Annotated[str, StringConstraints(max_length=500), Clean]
Words = Annotated[str, StringConstraints(max_length=1000), Clean]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True), Clean, Visible]
Id = Annotated[str, StringConstraints(min_length=1, max_length=255), Clean]
# Stripe's ids by their prefix: a word such as `search` would be another path of Stripe's.
PaymentIntentId = Annotated[str, StringConstraints(pattern=r"^pi_[A-Za-z0-9_]{1,250}$")]
ChargeId = Annotated[str, StringConstraints(pattern=r"^(ch|py)_[A-Za-z0-9_]{1,250}$")]
# Another id is none of ours, so an answer says that it isn't found; the contract says what ours look like.
LineId = Annotated[Id, Field(json_schema_extra={"pattern": ID_PATTERN.format("rli")})]
RefundId = Annotated[Id, Field(json_schema_extra={"pattern": ID_PATTERN.format("rfd")})]
ReturnId = Annotated[Id, Field(json_schema_extra={"pattern": ID_PATTERN.format("ret")})]
StripeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
Email = Annotated[
    str,
    StringConstraints(max_length=320),
    Field(json_schema_extra={"pattern": f"^{EMAIL.pattern}$"}),
    Clean,
    AfterValidator(plausible_email),
]
Moment = Annotated[datetime, BeforeValidator(parse_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Label = Annotated[str, Clean]
METADATA_SCHEMA = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": LONGEST_METADATA_VALUE},
    "propertyNames": {"pattern": rf"^[^\[\]]{{1,{LONGEST_METADATA_KEY}}}$"},
    "maxProperties": METADATA_KEYS,
}
# Bounded here by what can be read at all; the command says which of Stripe's limits the caller's metadata is over.
Metadata = Annotated[dict[Label, Label], Field(max_length=1000), WithJsonSchema(METADATA_SCHEMA)]


def parse_object(raw: bytes, content_type: str) -> dict[str, Any]:
    """Return the JSON object in a body; an empty body is an empty object. Raises Problem."""
    kind = content_type.partition(";")[0].strip().lower()
    if raw and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem("unsupported_media_type")
    if not raw.strip():
        return {}
    _refuse_too_many_values(raw)
    try:
        found = json.loads(
            raw.decode(), object_pairs_hook=_once_each, parse_constant=_no_number, parse_int=_short_integer
        )
    except UnicodeDecodeError:
        raise Problem("malformed_request", "The body is not UTF-8.") from None
    except RecursionError:
        raise Problem("malformed_request", "The body is nested too deeply.") from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Problem("malformed_request", f"The body is not JSON{where}.") from None
    if not isinstance(found, dict):
        raise Problem("malformed_request", "The body must be one JSON object.")
    return found


def canonical_json(found: dict[str, Any]) -> bytes:
    """Return a body's one form, whatever its spaces and order: what a fingerprint is made of. Raises Problem."""
    try:
        return json.dumps(found, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise Problem("malformed_request", "The body holds half of a surrogate pair, which is no character.") from None
    except RecursionError:
        raise Problem("malformed_request", "The body is nested too deeply.") from None


def validate(kind: type[B], found: dict[str, Any]) -> B:
    """Return the body as its class. Raises Problem invalid_request with all that is wrong."""
    wrong, body = kind.also_wrong(found), None
    try:
        body = kind.model_validate(found, context=ErrorBudget())
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            code = ERROR_CODES.get(one["type"], "invalid")
            message = MESSAGES[one["type"]].format(**one.get("ctx", {})) if one["type"] in MESSAGES else one["msg"]
            wrong.append(Wrong(param_of(one["loc"]), code, message.removeprefix("Value error, ")))
    if body is not None and not wrong:
        return body
    first = wrong[0]
    detail = f"{first.param}: {first.message}" if first.param else first.message
    raise Problem("invalid_request", detail, param=first.param, errors=[w._asdict() for w in wrong[:MOST_ERRORS]])


def param_of(where: tuple[int | str, ...]) -> str | None:
    """Return a field's place as callers write it: `lines[0].quantity`."""
    text = ""
    for part in where:
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")[:200] or None


def _refuse_too_many_values(raw: bytes) -> None:
    """Raise Problem malformed_request for JSON that would take long to read, before any of it is read."""
    if raw.count(b",") <= MOST_VALUES and raw.count(b"[") + raw.count(b"{") <= MOST_CONTAINERS:
        return
    bare = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    if bare.count(b'"') > 4 * (MOST_VALUES + 1):  # the quotes of a name and a text for each value
        raise _too_many(MOST_VALUES, "values")
    outside = b"".join(bare.split(b'"')[::2])  # commas and brackets in texts are no values
    if outside.count(b",") > MOST_VALUES:
        raise _too_many(MOST_VALUES, "values")
    if outside.count(b"[") + outside.count(b"{") > MOST_CONTAINERS:
        raise _too_many(MOST_CONTAINERS, "objects and arrays")


def _too_many(most: int, what: str) -> Problem:
    return Problem("malformed_request", f"The body holds more than {most} {what}.")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        raise Problem("malformed_request", f"An object in the body has more than {MOST_FIELDS} fields.")
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = _first_repeated(name for name, _ in pairs)
        shown = twice.encode("ascii", "backslashreplace").decode()[:100]
        raise Problem("malformed_request", f"The field {shown} stands there twice.", param=shown)
    return found


def _first_repeated(names: Iterable[str]) -> str:
    before: set[str] = set()
    for name in names:
        if name in before:
            return name
        before.add(name)
    raise ValueError("no name is repeated")


def _short_integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise Problem("malformed_request", f"A number in the body has more than {LONGEST_NUMBER} digits.")
    return int(digits)


def _no_number(word: str) -> NoReturn:
    raise Problem("malformed_request", f"{word} is no JSON.")
