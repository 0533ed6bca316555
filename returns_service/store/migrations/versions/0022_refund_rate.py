"""The refund rate: what Stripe charged, by quarters of an hour; mail to staff about what needs them."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "charge_total",
        sa.Column("begins_at", columns.Utc(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("begins_at", "currency", name=op.f("pk_charge_total")),
    )
    op.create_table(
        "staff_mail",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", columns.Utc(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("ended_at", columns.Utc(), nullable=True),
        sa.CheckConstraint("kind IN ('refund_failed', 'refund_stuck', 'refund_rate')", name=op.f("ck_staff_mail_kind")),
        sa.CheckConstraint("status IN ('pending', 'sent', 'dropped', 'dead')", name=op.f("ck_staff_mail_status")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_staff_mail_event_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_mail")),
        sa.UniqueConstraint("event_id", name=op.f("uq_staff_mail_event_id")),
    )
    with op.batch_alter_table("staff_mail") as batch_op:
        batch_op.create_index(
            "ix_staff_mail_due",
            ["next_attempt_at"],
            unique=False,
            postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
            sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_staff_mail_ended",
            ["ended_at"],
            unique=False,
            postgresql_where=sa.text("ended_at IS NOT NULL"),
            sqlite_where=sa.text("ended_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_staff_mail_failing",
            ["created_at"],
            unique=False,
            postgresql_where=sa.text("failures > 0 AND status <> 'sent'"),
            sqlite_where=sa.text("failures > 0 AND status <> 'sent'"),
        )
