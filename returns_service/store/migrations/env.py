"""Run migrations over the connection that `store.schema` opened."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON
from sqlmodel.sql.sqltypes import AutoString

from returns_service.store import columns
from returns_service.store.tables import METADATA


def rendered(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Return how a type of ours is written in a revision: by the name that stays the same."""
    if kind != "type":
        return False
    if isinstance(item, columns.Utc):
        return "columns.Utc()"
    if isinstance(item, JSON):
        return "columns.MaybeJson" if item.none_as_null else "columns.Json"
    return "sa.String()" if isinstance(item, AutoString) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite alters a table by copying it
    render_item=rendered,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
