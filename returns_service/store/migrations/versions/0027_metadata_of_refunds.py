"""Metadata of refunds: the words by which a refund is found, for lists that no longer read every refund."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from returns_service.domain.search_text import metadata_word
from returns_service.store import columns

revision = "0027"
down_revision = "0026"

ROWS_AT_ONCE = 500
REFUND = sa.table("refund", sa.column("id"), sa.column("metadata", columns.Json))
WORD = sa.table("refund_word", sa.column("refund_id"), sa.column("word"))


def upgrade() -> None:
    op.create_table(
        "refund_word",
        sa.Column("refund_id", sa.String(), nullable=False),
        sa.Column("word", columns.Bytewise, nullable=False),
        sa.ForeignKeyConstraint(
            ["refund_id"],
            ["refund.id"],
            name=op.f("fk_refund_word_refund_id"),
            ondelete="CASCADE",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("refund_id", "word", name=op.f("pk_refund_word")),
    )
    op.create_index("ix_refund_word_word", "refund_word", ["word", "refund_id"], unique=False)
    fill()


def fill() -> None:
    """Give every refund its words."""
    connection = op.get_bind()
    for rows in batches(connection):
        words = [
            {"refund_id": row.id, "word": word}
            for row in rows
            for word in sorted(metadata_word(key, value) for key, value in row.metadata.items())
        ]
        if words:
            connection.execute(sa.insert(WORD), words)


def batches(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    """Return the refunds, some at a time: a shop of years doesn't fit into memory."""
    last = ""
    chosen = sa.select(REFUND.c.id, REFUND.c.metadata).order_by(REFUND.c.id)
    while rows := connection.execute(chosen.where(REFUND.c.id > last).limit(ROWS_AT_ONCE)).all():
        yield rows
        last = rows[-1].id
