"""Money that others moved: what a capture released, how a payment was made, what Stripe says of our key and account."""

import sqlalchemy as sa
from alembic import op

from returns_service.store.columns import MaybeJson, Utc

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "stripe_refusal",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("since", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_stripe_refusal")),
    )
    op.create_table(
        "stripe_account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("learnt_at", Utc(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_stripe_account_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_account")),
    )
    with op.batch_alter_table("payment") as batch_op:
        batch_op.add_column(sa.Column("authorized", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("released", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("method_type", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("paid_at", Utc(), nullable=True))
    with op.batch_alter_table("refund") as batch_op:
        batch_op.add_column(sa.Column("next_action", MaybeJson, nullable=True))
