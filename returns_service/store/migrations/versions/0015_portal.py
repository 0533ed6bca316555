"""The customer's portal: what a link offers, and photos."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "portal_session",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("lines", columns.Json, nullable=False),
        sa.Column("shipping_amount", sa.BigInteger(), nullable=False),
        sa.Column("purchased_at", columns.Utc(), nullable=True),
        sa.Column("delivered_at", columns.Utc(), nullable=True),
        sa.Column("customer_email", sa.String(), nullable=True),
        sa.Column("email_text", sa.String(), nullable=True),
        sa.Column("customer_name", sa.String(), nullable=True),
        sa.Column("locale", sa.String(), nullable=True),
        sa.Column("picks", columns.Json, nullable=False),
        sa.Column("return_id", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("expires_at", columns.Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["payment_id"],
            ["payment.id"],
            name=op.f("fk_portal_session_payment_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_portal_session_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_session")),
        sa.UniqueConstraint("return_id", name=op.f("uq_portal_session_return_id")),
    )
    with op.batch_alter_table("portal_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_portal_session_email_text"), ["email_text"], unique=False)
        batch_op.create_index(batch_op.f("ix_portal_session_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_portal_session_order_id"), ["order_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_portal_session_payment_id"), ["payment_id"], unique=False)

    op.create_table(
        "photo",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("portal_session_id", sa.String(), nullable=True),
        sa.Column("return_id", sa.String(), nullable=True),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_session_id"],
            ["portal_session.id"],
            name=op.f("fk_photo_portal_session_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_photo_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo")),
    )
    with op.batch_alter_table("photo", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_photo_portal_session_id"), ["portal_session_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_photo_return_id"), ["return_id"], unique=False)
        batch_op.create_index("ix_photo_size_bytes", ["size_bytes"], unique=False)
