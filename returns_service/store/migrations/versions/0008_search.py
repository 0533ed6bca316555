"""Search: a return's words, slip code and customer; tracking numbers, a parcel's as it is compared; delivery."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from returns_service.domain.search_text import join_words, normalise, searchable
from returns_service.domain.slip_code import slip_code
from returns_service.store import columns

revision = "0008"
down_revision = "0007"

ROWS_AT_ONCE = 500


def upgrade() -> None:
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("email_text", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("customer_name", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("slip_code", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("tracking_numbers", columns.Json, server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("delivered_at", columns.Utc(), nullable=True))
        batch_op.drop_index(batch_op.f("ix_return_authorization_customer_email"))
        batch_op.create_index(batch_op.f("ix_return_authorization_email_text"), ["email_text"], unique=False)
        batch_op.create_index("uq_return_slip_code", ["slip_code"], unique=True)
    op.create_table(
        "search_word",
        sa.Column("return_id", sa.String(), nullable=False),
        sa.Column("word", columns.Bytewise, nullable=False),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_search_word_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("return_id", "word", name=op.f("pk_search_word")),
    )
    op.create_index("ix_search_word_word", "search_word", ["word", "return_id"], unique=False)
    with op.batch_alter_table("unmatched_receipt") as batch_op:
        batch_op.add_column(sa.Column("tracking_text", sa.String(), nullable=True))
        batch_op.create_index(batch_op.f("ix_unmatched_receipt_tracking_text"), ["tracking_text"], unique=False)
    fill()
    fill_parcels()


RETURN = sa.table(
    "return_authorization",
    *(sa.column(name) for name in ("id", "order_id", "customer_email", "email_text", "slip_code")),
)
LINE = sa.table("return_line", sa.column("return_id"), sa.column("sku"))
PARCEL = sa.table("unmatched_receipt", *(sa.column(name) for name in ("id", "tracking_number", "tracking_text")))
WORD = sa.table("search_word", sa.column("return_id"), sa.column("word"))


def fill() -> None:
    """Give every return its slip code and its words."""
    connection = op.get_bind()
    taken: set[str] = set()
    for rows in batches(connection):
        ids = [row.id for row in rows]
        skus: dict[str, list[str]] = {}
        for return_id, sku in connection.execute(sa.select(LINE).where(LINE.c.return_id.in_(ids))).all():
            skus.setdefault(return_id, []).append(sku)
        words = []
        for row in rows:
            code = next(code for draw in range(len(taken) + 1) if (code := slip_code(row.id, draw)) not in taken)
            taken.add(code)
            email = normalise(row.customer_email) if row.customer_email else None
            changed = sa.update(RETURN).where(RETURN.c.id == row.id).values(slip_code=code, email_text=email)
            connection.execute(changed)
            found = searchable([row.customer_email], [row.id, row.order_id, code, *skus.get(row.id, ())])
            words += [{"return_id": row.id, "word": word} for word in sorted(found)]
        connection.execute(sa.insert(WORD), words)


def batches(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    """Return the returns, some at a time: a shop of years doesn't fit into memory."""
    last = ""
    chosen = sa.select(RETURN.c.id, RETURN.c.order_id, RETURN.c.customer_email).order_by(RETURN.c.id)
    while rows := connection.execute(chosen.where(RETURN.c.id > last).limit(ROWS_AT_ONCE)).all():
        yield rows
        last = rows[-1].id


def fill_parcels() -> None:
    """Write the tracking numbers of parcels as they are compared."""
    connection = op.get_bind()
    chosen = sa.select(PARCEL.c.id, PARCEL.c.tracking_number).where(PARCEL.c.tracking_number.is_not(None))
    for row in connection.execute(chosen).all():
        changed = sa.update(PARCEL).where(PARCEL.c.id == row.id).values(tracking_text=join_words(row.tracking_number))
        connection.execute(changed)
