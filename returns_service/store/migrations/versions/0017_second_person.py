"""Refunds that one person may not decide alone: the amount decided, and the second person's agreement."""

import sqlalchemy as sa
from alembic import op

from returns_service.store.columns import Utc

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    with op.batch_alter_table("refund") as batch_op:
        batch_op.add_column(sa.Column("decided_amount", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("unapproved", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("approved_by", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("approved_at", Utc(), nullable=True))
