"""A file of open returns from elsewhere, read line by line: CSV or JSON Lines, every mistake named by its line."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TextIO

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from returns_service.commands.imports import NewImport, ReceivedUnits
from returns_service.commands.return_lines import NewLine
from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import Condition
from returns_service.web.operations.ask_stripe import Target
from returns_service.web.operations.bodies import (
    MOST_UNITS,
    Moment,
    Name,
    StripeId,
    canonical_json,
    require_integer,
    validate,
)
from returns_service.web.operations.returns import LineAsked, ReturnAsked

FileFormat = Literal["csv", "jsonl"]
LONGEST_LINE: Final = 1024 * 1024  # characters
METADATA: Final = "metadata."  # what a CSV's column of metadata begins with
WHOLE_NUMBERS: Final = frozenset(
    ("quantity", "total_amount", "tax_amount", "quantity_ordered", "received_quantity", "shipping_amount",
     "shipping_tax_amount", "order_units")
)  # fmt: skip
LISTS: Final = frozenset(("barcodes", "tracking_numbers", "refunds"))  # parted by blanks
YES: Final = frozenset(("yes", "true", "1"))
NO: Final = frozenset(("no", "false", "0"))


def since_1970(time: datetime) -> datetime:
    """Refuse a time that no computer told."""
    if time < datetime.fromtimestamp(0, UTC):
        raise PydanticCustomError("too_small", "Must not be before 1970")
    return time


class ImportedLine(LineAsked):
    """A line of a return of another system, and how many of its units were counted there already."""

    received_quantity: Annotated[int, Field(ge=0, le=MOST_UNITS), BeforeValidator(require_integer)] = 0
    received_condition: Condition = "new"

    @model_validator(mode="after")
    def _no_more_than_the_line(self) -> Self:
        if self.received_quantity > self.quantity:
            raise PydanticCustomError("too_large", "received_quantity: More than the quantity")
        return self

    def new_line(self) -> NewLine:
        """Return it as the command takes it."""
        return NewLine(**self.model_dump(exclude={"received_quantity", "received_condition"}))


class ImportedBody(ReturnAsked[ImportedLine]):
    """A return of another system: what `POST /v1/returns` takes, its id there, and how far it is."""

    external_id: Name
    requested_at: Annotated[Moment, AfterValidator(since_1970)] | None = None
    approved: StrictBool = False
    refunds: Annotated[list[StripeId], Field(max_length=100)] = Field(default_factory=list)

    def new_import(self, fingerprint: str) -> NewImport:
        """Return it as the command takes it."""
        received = [
            ReceivedUnits(position, line.received_quantity, line.received_condition)
            for position, line in enumerate(self.lines)
            if line.received_quantity
        ]
        asked = replace(self.new_return(), requested_at=self.requested_at)
        return NewImport(self.external_id, fingerprint, asked, self.approved, self.refunds, received)


LINE_COLUMNS: Final = tuple(name for name in ImportedLine.model_fields)
RETURN_COLUMNS: Final = tuple(
    name for name in ImportedBody.model_fields if name not in ("lines", "metadata", *LINE_COLUMNS)
)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A mistake in the file: where, and what to correct."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """What the file says of one return, or of a payment alone (`new` is None)."""

    line: int  # where it begins
    target: Target
    new: NewImport | None


@dataclass(frozen=True, slots=True)
class _Raw:
    line: int
    found: dict[str, Any]
    lines: Sequence[int] = ()  # where each of its `lines` is


def format_of(path: Path) -> FileFormat | None:
    """Return the format that a file's name ends in."""
    endings: Mapping[str, FileFormat] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    return endings.get(path.suffix.lower())


def read_records(path: Path, kind: FileFormat) -> Iterator[Record | Wrong]:
    """Yield what a file says, record by record, and what is wrong in it."""
    first_at: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for raw in _read_csv(file) if kind == "csv" else _read_json(file):
                record = raw if isinstance(raw, Wrong) else _check(raw)
                if isinstance(record, Record) and record.new is not None:
                    before = first_at.setdefault(record.new.external_id, record.line)
                    if before != record.line:
                        record = Wrong(record.line, f"external_id: it is on line {before} already")
                yield record
        except UnicodeDecodeError:
            yield Wrong(0, "the file is no UTF-8 text")


def _check(raw: _Raw) -> Record | Wrong:
    """Return a record, or the mistakes that keep it from being one."""
    try:
        if not raw.found.keys() - {"payment_intent", "charge"}:
            return Record(raw.line, validate(Target, raw.found), None)
        body = validate(ImportedBody, raw.found)
        fingerprint = hashlib.sha256(canonical_json(raw.found)).hexdigest()
    except Problem as problem:
        place = re.match(r"lines\[(\d+)\]\.?", problem.param or "")
        number = int(place[1]) if place else None
        line = raw.lines[number] if number is not None and number < len(raw.lines) else raw.line
        text = str(problem.detail)
        return Wrong(line, text.removeprefix(place[0]) if place and raw.lines else text)
    target = Target(payment_intent=body.payment_intent, charge=body.charge)
    return Record(raw.line, target, body.new_import(fingerprint))


def _read_json(file: TextIO) -> Iterator[_Raw | Wrong]:
    number = 0
    while text := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(text) > LONGEST_LINE:
            yield Wrong(number, "the line is longer than 1 MiB")
            return
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            yield Wrong(number, "this is no JSON")
            continue
        yield _Raw(number, found) if isinstance(found, dict) else Wrong(number, "this is no JSON object")


def _read_csv(file: TextIO) -> Iterator[_Raw | Wrong]:
    """Yield a return for each run of rows with the same `external_id`: a row is one of its lines."""
    head = file.readline(LONGEST_LINE)
    delimiter = max(",;\t", key=head.count)
    columns = [name.strip() for name in next(csv.reader([head], delimiter=delimiter), [])]
    if wrong := _wrong_columns(columns):
        yield Wrong(1, wrong)
        return
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    begun: _Raw | None = None
    at = 2
    try:
        for cells in reader:
            number, at = at, reader.line_num + 2
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns):
                yield Wrong(number, f"{len(cells)} cells, and {len(columns)} columns")
                continue
            row, line = _split(columns, cells)
            if begun is not None and row.get("external_id") in (None, begun.found.get("external_id")) and line:
                if wrong := _find_difference(begun.found, row):
                    yield Wrong(number, wrong)
                begun = _Raw(
                    begun.line, {**begun.found, "lines": [*begun.found["lines"], line]}, [*begun.lines, number]
                )
                continue
            if begun is not None:
                yield begun
            begun = _Raw(number, {**row, "lines": [line]}, [number]) if line else None
            if begun is None:
                yield _Raw(number, row)
    except csv.Error as error:
        yield Wrong(at, f"this is no CSV: {error}")
        return
    if begun is not None:
        yield begun


def _wrong_columns(columns: Sequence[str]) -> str | None:
    """Return what is wrong with a CSV's first line; None where nothing is."""
    known = list(dict.fromkeys((*RETURN_COLUMNS, *LINE_COLUMNS)))
    for name in columns:
        if name not in known and not (name.startswith(METADATA) and name != METADATA):
            return f"there is no column {name!r}; there are: {', '.join(known)}"
        if columns.count(name) > 1:
            return f"the column {name} is there twice"
    return None


def _split(columns: Sequence[str], cells: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a row says of its return, and of its line; empty cells say nothing."""
    row: dict[str, Any] = {}
    line: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=False):
        if not (text := cell.strip()):
            continue
        if name.startswith(METADATA):
            row.setdefault("metadata", {})[name.removeprefix(METADATA)] = text
        else:
            (line if name in LINE_COLUMNS else row)[name] = _value(name, text)
    return row, line


def _value(name: str, text: str) -> Any:
    """Return a cell as JSON would have it; what can't be read stays text, and is refused as such."""
    if name in WHOLE_NUMBERS and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if name in LISTS:
        return text.split()
    if name == "approved" and text.lower() in YES | NO:
        return text.lower() in YES
    return text


def _find_difference(begun: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Return what a further row says otherwise of its return; None where it says the same, or nothing."""
    for name, value in row.items():
        if begun.get(name) != value:
            return f"{name}: the first row of this return says something else"
    return None
