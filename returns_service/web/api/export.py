"""A whole list as CSV or JSON Lines, streamed page by page: no list is too long, and none is held in memory."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from litestar.response import Stream
from msgspec.inspect import type_info

from returns_service.commands.api_keys import keys_in_force
from returns_service.domain.problems import Problem
from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey
from returns_service.web.operations.operation import Operation, OperationCall
from returns_service.web.operations.query_string import LONGEST_LIMIT, wrong

JSON, CSV, JSON_LINES = "application/json", "text/csv", "application/jsonl"
ENDINGS = {CSV: "csv", JSON_LINES: "jsonl"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute a text that begins so


async def export(operation: Operation, call: OperationCall[Any], key: ApiKey, kind: str, *, head: bool) -> Stream:
    """Return all of a list from `starting_after` on. Raises Problem before anything is sent."""
    for name in ("limit", "ending_before"):
        if call.query.get(name) is not None:
            raise wrong(name, "An export holds everything, in the list's order: leave this out")
    pages = read_pages(operation, call, key)
    first = await anext(pages)
    parts = in_csv(columns_of(operation), first, pages) if kind == CSV else in_lines(first, pages)
    name = operation.path.rpartition("/")[2]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{ENDINGS[kind]}"', "Vary": "Accept"}
    return Stream(iter(()) if head else parts, media_type=kind, headers=headers)


async def read_pages(operation: Operation, call: OperationCall[Any], key: ApiKey) -> AsyncIterator[list[Any]]:
    """Yield the pages of a list, each from a transaction of its own. Raises Problem once the key is revoked."""
    values = {**call.query.values, "limit": str(LONGEST_LIMIT)}
    while True:
        page_call = replace(call, query=replace(call.query, values=dict(values)))

        async def look(tx: Tx, page_call: OperationCall[Any] = page_call) -> Any:
            if not await keys_in_force(tx, [key.id]):
                raise Problem("unauthorized")
            return (await operation.work(page_call, tx)).body

        page = await call.context.database.read(look)
        yield page.data
        if not page.has_more:
            return
        values["starting_after"] = page.data[-1].id


async def in_lines(first: Sequence[Any], pages: AsyncIterator[Sequence[Any]]) -> AsyncIterator[bytes]:
    """Yield each object as a line of JSON."""
    yield msgspec.json.Encoder().encode_lines(first)
    async for page in pages:
        yield msgspec.json.Encoder().encode_lines(page)


async def in_csv(
    columns: Sequence[str], first: Sequence[Any], pages: AsyncIterator[Sequence[Any]]
) -> AsyncIterator[bytes]:
    """Yield a row for each object, after the names of the columns."""
    yield _csv([columns])
    yield _csv(rows_of(columns, first))
    async for page in pages:
        yield _csv(rows_of(columns, page))


def columns_of(operation: Operation) -> list[str]:
    """Return the names of the fields of a list's objects."""
    page: Any = type_info(operation.answer)
    (data,) = [field for field in page.fields if field.name == "data"]
    return [field.encode_name for field in data.type.item_type.fields]


def rows_of(columns: Sequence[str], page: Sequence[Any]) -> Iterator[list[str]]:
    """Yield each object's fields in the order of the columns."""
    for view in page:
        fields = msgspec.to_builtins(view)
        yield [cell(fields.get(name)) for name in columns]


def cell(value: Any) -> str:
    """Return a field as a spreadsheet may read it: nothing for null, JSON for what has parts, never a formula."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return msgspec.json.encode(value).decode()


def _csv(rows: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
