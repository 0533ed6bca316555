"""How columns are declared: UTC times, JSON, amounts in minor units, words of a closed list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, DateTime, Dialect, Index, String, literal_column, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel, col
from sqlmodel.sql.sqltypes import AutoString

# Here, as every table imports this file before it is declared.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class StoredRow(SQLModel):
    """The base of all tables: what a row is given goes to SQLAlchemy alone.

    SQLModel also keeps for pydantic which fields were set, at three times the cost; nothing here asks for that.
    """

    if not TYPE_CHECKING:  # or a type checker would take any name for a field
        __setattr__ = object.__setattr__


def _read_text(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value is not None else None


class Utc(TypeDecorator[datetime]):
    """An aware UTC time; on SQLite a text of fixed width, so that it sorts and compares as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        native: TypeEngine[Any] = String(27) if dialect.name == "sqlite" else DateTime(timezone=True)
        return dialect.type_descriptor(native)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        if dialect.name != "sqlite":
            return value
        # strftime's %Y would not pad the year 999.
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return what reads a value; None on PostgreSQL, whose driver reads aware UTC times already."""
        return _read_text if dialect.name == "sqlite" else None


DUE_SQL = "next_attempt_at IS NOT NULL"  # the condition of every partial index that serves as a queue
Json = JSON().with_variant(JSONB(), "postgresql")
Bytewise = String().with_variant(String(collation="C"), "postgresql")
MaybeJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def one_of(column: str, allowed: Sequence[str], name: str) -> CheckConstraint:
    """Return the check that `column` holds one of `allowed`."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in allowed)})", name=name)


def word(default: Any = ..., *, index: bool = False, server_default: bool = False) -> Any:
    """Declare a word of a closed list: a `Literal`, which SQLModel has no column for. Default None: it may be null.

    `server_default`: the column came later, and an older release leaves it out.
    """
    later = {"server_default": default} if server_default else {}
    return Field(default=default, sa_type=AutoString, index=index, sa_column_kwargs=later)


def utc(index: bool = False, nullable: bool = False, primary_key: bool = False) -> Any:
    """Declare a UTC time."""
    default = None if nullable else ...
    return Field(default=default, sa_type=Utc, nullable=nullable, index=index, primary_key=primary_key)


def json_object(empty: type[dict[str, Any]] | type[list[Any]] = dict, *, server_default: bool = False) -> Any:
    """Declare a JSON column that is never null. `server_default`: a release before it leaves it out.

    The default is an object, which pydantic copies for each row: of a factory it would parse the signature each time.
    """
    arguments = {"server_default": "[]" if empty is list else "{}"} if server_default else {}
    return Field(default=empty(), sa_type=Json, nullable=False, sa_column_kwargs=arguments)


def json_or_null() -> Any:
    """Declare a JSON column that may be null (SQL's NULL, not JSON's)."""
    return Field(default=None, sa_type=MaybeJson, nullable=True)


def bytewise(default: Any = ..., *, primary_key: bool = False) -> Any:
    """Declare a text that sorts and compares by code point on both databases, whatever the server's language."""
    return Field(default=default, sa_type=Bytewise, primary_key=primary_key)


def minor_units(default: Any = ...) -> Any:
    """Declare an amount in minor units."""
    return Field(default=default, sa_type=BigInteger)


def metadata_column() -> Any:
    """Declare the caller's metadata: `metadata` in the table, since SQLModel keeps that name for itself."""
    return Field(default={}, sa_column=Column("metadata", Json, nullable=False))


def partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Declare an index over the rows that meet `where`, the same on both databases."""
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def among(column: Any, words: Sequence[str]) -> Any:
    """Return the condition that a column holds one of `words`, all ours, written out as a partial index's predicate is.

    With bound values a database can't tell that such an index holds all the rows that are meant.
    """
    return col(column).in_([literal_column(f"'{word}'") for word in words])


def defer_foreign_keys(*tables: str) -> None:
    """Check these tables' foreign keys at COMMIT: rows of one transaction may be written in any order."""
    for name in tables:
        for reference in SQLModel.metadata.tables[name].foreign_key_constraints:
            reference.deferrable, reference.initially = True, "DEFERRED"
