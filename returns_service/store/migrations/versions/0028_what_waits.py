"""What waits: payments that are read before anything of them is sent; the amount due of a return that its last event told."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    with op.batch_alter_table("payment") as batch_op:
        batch_op.add_column(sa.Column("held_until_read", sa.Boolean(), server_default=sa.false(), nullable=False))
    where = sa.text("held_until_read")
    op.create_index("ix_payment_held_until_read", "payment", ["id"], postgresql_where=where, sqlite_where=where)
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("amount_due", sa.BigInteger(), nullable=True))
