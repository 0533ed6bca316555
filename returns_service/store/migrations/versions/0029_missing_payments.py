"""Payments that Stripe knows no more: since when a read of one is answered so."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    with op.batch_alter_table("payment") as batch_op:
        batch_op.add_column(sa.Column("missing_since", columns.Utc(), nullable=True))
