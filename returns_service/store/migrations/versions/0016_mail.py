"""Mail to customers."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "mail",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", columns.Utc(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("ended_at", columns.Utc(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('requested', 'approved', 'declined', 'received', 'refunded', 'failed')", name=op.f("ck_mail_kind")
        ),
        sa.CheckConstraint("status IN ('pending', 'sent', 'dropped', 'dead')", name=op.f("ck_mail_status")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_mail_event_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_mail_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail")),
        sa.UniqueConstraint("event_id", name=op.f("uq_mail_event_id")),
    )
    with op.batch_alter_table("mail", schema=None) as batch_op:
        batch_op.create_index(
            "ix_mail_due",
            ["next_attempt_at"],
            unique=False,
            postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
            sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_mail_failing",
            ["created_at"],
            unique=False,
            postgresql_where=sa.text("failures > 0 AND status <> 'sent'"),
            sqlite_where=sa.text("failures > 0 AND status <> 'sent'"),
        )
        batch_op.create_index(batch_op.f("ix_mail_return_id"), ["return_id"], unique=False)
