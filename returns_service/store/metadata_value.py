"""The value under a key of an object that a JSON column holds, in the words of either database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import col


class MetadataValue(FunctionElement[str]):
    """Text under a key, NULL where there is none.

    Any key may be asked for, whereas a JSON path of SQLite's has no word for a quote.
    """

    inherit_cache = True
    type = String()

    def __init__(self, column: Any, key: str) -> None:
        super().__init__(col(column), literal(key, String()))


def _parts(element: MetadataValue, compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(part, **options) for part in element.clauses]


@compiles(MetadataValue)
def _in_postgresql(element: MetadataValue, compiler: SQLCompiler, **options: Any) -> str:
    column, key = _parts(element, compiler, options)
    return f"({column} ->> {key})"


@compiles(MetadataValue, "sqlite")
def _in_sqlite(element: MetadataValue, compiler: SQLCompiler, **options: Any) -> str:
    column, key = _parts(element, compiler, options)
    return f"(SELECT value FROM json_each({column}) WHERE key = {key})"  # noqa: S608 - a column, and a bound value
