"""Resolutions: what the customer wants for their units, and what is due outside Stripe for it."""

import sqlalchemy as sa
from alembic import op

from returns_service.store.columns import Utc

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("resolution", sa.String(), nullable=False, server_default="refund"))
        batch_op.add_column(sa.Column("due_outside", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("due_outside_since", Utc(), nullable=True))
    with op.batch_alter_table("return_line") as batch_op:
        batch_op.add_column(sa.Column("resolution", sa.String(), nullable=False, server_default="refund"))
    where = sa.text("due_outside_since IS NOT NULL")
    op.create_index(
        "ix_return_due_outside", "return_authorization", ["due_outside_since"],
        postgresql_where=where, sqlite_where=where,
    )  # fmt: skip
