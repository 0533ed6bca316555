"""Parts: the open amount of a failed refund, and the failed refund whose place another one takes."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    with op.batch_alter_table("refund") as batch_op:
        batch_op.add_column(sa.Column("supersedes", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("amount_open", sa.BigInteger(), nullable=True))
        batch_op.create_foreign_key(
            op.f("fk_refund_supersedes"), "refund", ["supersedes"], ["id"], initially="DEFERRED", deferrable=True
        )
