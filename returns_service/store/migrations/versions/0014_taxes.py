"""Taxes: the tax in what was paid for a line and for shipping, and in each row of a breakdown."""

import sqlalchemy as sa
from alembic import op

from returns_service.store.columns import MaybeJson

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("shipping_tax_amount", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("return_line") as batch_op:
        batch_op.add_column(sa.Column("tax_amount", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("refund") as batch_op:
        batch_op.add_column(sa.Column("taxes", MaybeJson, nullable=True))
