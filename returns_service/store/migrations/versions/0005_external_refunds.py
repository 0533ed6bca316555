"""Refunds made outside: the payment they hold, and when a person acknowledged them."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.add_column(sa.Column("external_open", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("refund", schema=None) as batch_op:
        batch_op.add_column(sa.Column("overrides_hold", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("acknowledged_at", columns.Utc(), nullable=True))
