"""Outgoing webhooks: how far an endpoint was told, old secrets, the order and the leases of deliveries; when a sweep got through."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("webhook_endpoint", schema=None) as batch_op:
        batch_op.add_column(sa.Column("old_secrets", columns.Json, server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("position", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("disabled_at", columns.Utc(), nullable=True))
        batch_op.add_column(sa.Column("disabled_reason", sa.String(), nullable=True))

    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.add_column(sa.Column("stream", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("position", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("reason", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("failing_since", columns.Utc(), nullable=True))
        batch_op.add_column(sa.Column("lease_token", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("ended_at", columns.Utc(), nullable=True))
        batch_op.create_index(
            "ix_delivery_turn",
            ["endpoint_id", "next_attempt_at", "position"],
            unique=False,
            postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
            sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_delivery_stream",
            ["endpoint_id", "stream", "position"],
            unique=False,
            postgresql_where=sa.text("status = 'pending'"),
            sqlite_where=sa.text("status = 'pending'"),
        )
        batch_op.create_index(
            "ix_delivery_ended",
            ["ended_at"],
            unique=False,
            postgresql_where=sa.text("ended_at IS NOT NULL"),
            sqlite_where=sa.text("ended_at IS NOT NULL"),
        )
        batch_op.create_index("uq_delivery_event", ["endpoint_id", "event_id"], unique=True)
    with op.batch_alter_table("sweep", schema=None) as batch_op:
        batch_op.add_column(sa.Column("done_at", columns.Utc(), nullable=True))
    # Endpoints are told from the feed now; for what is in it already, the release before wrote deliveries.
    op.execute("UPDATE webhook_endpoint SET position = (SELECT coalesce(max(position), 0) FROM event)")
