"""Reconciliation."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "reconciliation_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("since", columns.Utc(), nullable=False),
        sa.Column("fix", sa.Boolean(), nullable=False),
        sa.Column("started_by", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=True),
        sa.Column("counts", columns.Json, nullable=False),
        sa.Column("differing", sa.Integer(), nullable=True),
        sa.Column("lease_until", columns.Utc(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("finished_at", columns.Utc(), nullable=True),
        sa.CheckConstraint("phase IN ('stripe', 'open', 'done')", name=op.f("ck_reconciliation_run_phase")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_run")),
    )
    with op.batch_alter_table("reconciliation_run", schema=None) as batch_op:
        batch_op.create_index(
            "ix_reconciliation_run_unfinished",
            ["created_at"],
            unique=False,
            postgresql_where=sa.text("finished_at IS NULL"),
            sqlite_where=sa.text("finished_at IS NULL"),
        )

    op.create_table(
        "reconciliation_difference",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("differs", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=True),
        sa.Column("payment_intent", sa.String(), nullable=True),
        sa.Column("charge", sa.String(), nullable=True),
        sa.Column("stripe_refund", sa.String(), nullable=True),
        sa.Column("refund_id", sa.String(), nullable=True),
        sa.Column("return_id", sa.String(), nullable=True),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("amount_here", sa.BigInteger(), nullable=True),
        sa.Column("amount_at_stripe", sa.BigInteger(), nullable=True),
        sa.Column("status_here", sa.String(), nullable=True),
        sa.Column("status_at_stripe", sa.String(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.CheckConstraint(
            "code IN ('missing_here', 'missing_at_stripe', 'other_amount', 'other_status', 'two_for_one_intent', 'external', 'open', 'not_rebuilt')",
            name=op.f("ck_reconciliation_difference_code"),
        ),
        sa.CheckConstraint(
            "outcome IN ('found', 'fixed', 'left', 'information')", name=op.f("ck_reconciliation_difference_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["reconciliation_run.id"], name=op.f("fk_reconciliation_difference_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_difference")),
    )
    with op.batch_alter_table("reconciliation_difference", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reconciliation_difference_run_id"), ["run_id"], unique=False)
        batch_op.create_index("uq_reconciliation_difference", ["run_id", "code", "subject"], unique=True)

    with op.batch_alter_table("refund", schema=None) as batch_op:
        batch_op.add_column(sa.Column("stripe_created_at", columns.Utc(), nullable=True))
        batch_op.create_index(
            "ix_refund_at_stripe",
            ["stripe_created_at", "id"],
            unique=False,
            postgresql_where=sa.text("stripe_created_at IS NOT NULL"),
            sqlite_where=sa.text("stripe_created_at IS NOT NULL"),
        )
    # Near enough for rows of before: whoever is looked for at Stripe is asked about by its id before it counts as missing.
    op.execute(
        "UPDATE refund SET stripe_created_at = coalesce(first_attempt_at, created_at) WHERE stripe_refund IS NOT NULL"
    )
