"""The first schema."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("scopes", columns.Json, nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("expires_at", columns.Utc(), nullable=True),
        sa.Column("revoked_at", columns.Utc(), nullable=True),
        sa.Column("last_used_at", columns.Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_key_secret_hash")),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", columns.Json, nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_key")),
    )
    with op.batch_alter_table("idempotency_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_key_created_at"), ["created_at"], unique=False)

    op.create_table(
        "payment",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("payment_intent", sa.String(), nullable=True),
        sa.Column("charge", sa.String(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.Column("amount_refunded", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("connect", sa.Boolean(), nullable=False),
        sa.Column("disputed", sa.Boolean(), nullable=False),
        sa.Column("dispute", columns.MaybeJson, nullable=True),
        sa.Column("method", sa.String(), nullable=True),
        sa.Column("busy_until", columns.Utc(), nullable=True),
        sa.Column("read_at", columns.Utc(), nullable=True),
        sa.Column("news", sa.Integer(), nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.CheckConstraint("captured >= 0", name=op.f("ck_payment_captured")),
        sa.CheckConstraint("payment_intent IS NOT NULL OR charge IS NOT NULL", name=op.f("ck_payment_named")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("charge", name=op.f("uq_payment_charge")),
        sa.UniqueConstraint("payment_intent", name=op.f("uq_payment_payment_intent")),
    )
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.create_index(
            "ix_payment_read_due",
            ["read_at"],
            unique=False,
            postgresql_where=sa.text("read_at IS NOT NULL"),
            sqlite_where=sa.text("read_at IS NOT NULL"),
        )

    op.create_table(
        "staff_user",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("disabled_at", columns.Utc(), nullable=True),
        sa.CheckConstraint("role IN ('warehouse', 'approver', 'finance', 'admin')", name=op.f("ck_staff_user_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_user")),
        sa.UniqueConstraint("email", name=op.f("uq_staff_user_email")),
    )
    op.create_table(
        "stripe_event",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("received_at", columns.Utc(), nullable=False),
        sa.Column("processed_at", columns.Utc(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", columns.Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_event")),
    )
    with op.batch_alter_table("stripe_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_stripe_event_due",
            ["next_attempt_at"],
            unique=False,
            postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
            sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        )

    op.create_table(
        "stripe_pace",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("writes_a_second", sa.Float(), nullable=False),
        sa.Column("next_slot_at", columns.Utc(), nullable=False),
        sa.Column("slowed_at", columns.Utc(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", columns.Utc(), nullable=True),
        sa.Column("open_reason", sa.String(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_stripe_pace_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_pace")),
    )
    op.create_table(
        "sweep",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=True),
        sa.Column("next_at", columns.Utc(), nullable=False),
        sa.Column("lease_until", columns.Utc(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sweep")),
    )
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", columns.Json, nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.CheckConstraint("status IN ('enabled', 'disabled')", name=op.f("ck_webhook_endpoint_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_table(
        "return_authorization",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("internal_note", sa.String(), nullable=True),
        sa.Column("customer_email", sa.String(), nullable=True),
        sa.Column("purchased_at", columns.Utc(), nullable=True),
        sa.Column("shipping_amount", sa.BigInteger(), nullable=False),
        sa.Column("policy", columns.MaybeJson, nullable=True),
        sa.Column("approvals", columns.Json, nullable=False),
        sa.Column("approvals_required", sa.Integer(), nullable=False),
        sa.Column("follow_up_at", columns.Utc(), nullable=True),
        sa.Column("follow_up_barred", columns.MaybeJson, nullable=True),
        sa.Column("closed_at", columns.Utc(), nullable=True),
        sa.Column("metadata", columns.Json, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("updated_at", columns.Utc(), nullable=False),
        sa.CheckConstraint(
            "state IN ('requested', 'approved', 'refunding', 'refunded', 'failed', 'declined', 'canceled')",
            name=op.f("ck_return_authorization_state"),
        ),
        sa.CheckConstraint("shipping_amount >= 0", name=op.f("ck_return_authorization_shipping_amount")),
        sa.ForeignKeyConstraint(
            ["payment_id"],
            ["payment.id"],
            name=op.f("fk_return_authorization_payment_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_return_authorization")),
    )
    with op.batch_alter_table("return_authorization", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_return_authorization_customer_email"), ["customer_email"], unique=False)
        batch_op.create_index(batch_op.f("ix_return_authorization_order_id"), ["order_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_return_authorization_payment_id"), ["payment_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_return_authorization_state"), ["state"], unique=False)
        batch_op.create_index(
            "ix_return_follow_up",
            ["follow_up_at"],
            unique=False,
            postgresql_where=sa.text("follow_up_at IS NOT NULL"),
            sqlite_where=sa.text("follow_up_at IS NOT NULL"),
        )

    op.create_table(
        "receipt",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=False),
        sa.Column("received_by", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("reversed_at", columns.Utc(), nullable=True),
        sa.Column("reversed_by", sa.String(), nullable=True),
        sa.Column("reversed_reason", sa.String(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_receipt_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
    )
    with op.batch_alter_table("receipt", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_receipt_return_id"), ["return_id"], unique=False)
        batch_op.create_index("uq_receipt_scan", ["return_id", "scan_id"], unique=True)

    op.create_table(
        "refund",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("breakdown", columns.Json, nullable=False),
        sa.Column("metadata", columns.Json, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("updated_at", columns.Utc(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("parameters", columns.Json, nullable=False),
        sa.Column("past_parameters", columns.Json, nullable=False),
        sa.Column("first_attempt_at", columns.Utc(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ever_unknown", sa.Boolean(), nullable=False),
        sa.Column("lookups_only", sa.Boolean(), nullable=False),
        sa.Column("next_attempt_at", columns.Utc(), nullable=True),
        sa.Column("next_is_read", sa.Boolean(), nullable=False),
        sa.Column("lease_until", columns.Utc(), nullable=True),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("news", sa.Integer(), nullable=False),
        sa.Column("stripe_refund", sa.String(), nullable=True),
        sa.Column("failure", columns.MaybeJson, nullable=True),
        sa.Column("arrival", columns.MaybeJson, nullable=True),
        sa.Column("waits_for", sa.String(), nullable=True),
        sa.Column("superseded_at", columns.Utc(), nullable=True),
        sa.Column("superseded_by", sa.String(), nullable=True),
        sa.Column("duplicate_of", sa.String(), nullable=True),
        sa.Column("method", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.CheckConstraint("source IN ('return', 'standalone', 'external')", name=op.f("ck_refund_source")),
        sa.CheckConstraint(
            "status IN ('queued', 'submitted', 'unknown', 'pending', 'requires_action', 'succeeded', 'failed', 'canceled', 'withdrawn', 'settled_outside')",
            name=op.f("ck_refund_status"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refund_amount")),
        sa.CheckConstraint("generation > 0", name=op.f("ck_refund_generation")),
        sa.ForeignKeyConstraint(
            ["duplicate_of"], ["refund.id"], name=op.f("fk_refund_duplicate_of"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_refund_payment_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_refund_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by"],
            ["refund.id"],
            name=op.f("fk_refund_superseded_by"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("stripe_refund", name=op.f("uq_refund_stripe_refund")),
    )
    with op.batch_alter_table("refund", schema=None) as batch_op:
        batch_op.create_index(
            "ix_refund_due",
            ["next_attempt_at", "id"],
            unique=False,
            postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
            sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_refund_payment_id"), ["payment_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_refund_return_id"), ["return_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_refund_status"), ["status"], unique=False)
        batch_op.create_index(
            "uq_refund_unanswered",
            ["return_id"],
            unique=True,
            postgresql_where=sa.text("return_id IS NOT NULL AND status IN ('queued', 'submitted', 'unknown')"),
            sqlite_where=sa.text("return_id IS NOT NULL AND status IN ('queued', 'submitted', 'unknown')"),
        )

    op.create_table(
        "return_line",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("order_line", sa.String(), nullable=True),
        sa.Column("quantity_ordered", sa.Integer(), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("total_amount", sa.BigInteger(), nullable=False),
        sa.Column("accepted", columns.Json, nullable=False),
        sa.Column("rejected", columns.Json, nullable=False),
        sa.Column("inspecting", sa.Integer(), nullable=False),
        sa.CheckConstraint("inspecting >= 0", name=op.f("ck_return_line_inspecting")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_return_line_quantity")),
        sa.CheckConstraint(
            "quantity_ordered IS NULL OR quantity_ordered > 0", name=op.f("ck_return_line_quantity_ordered")
        ),
        sa.CheckConstraint("total_amount >= 0", name=op.f("ck_return_line_total_amount")),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_return_line_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_return_line")),
    )
    with op.batch_alter_table("return_line", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_return_line_order_line"), ["order_line"], unique=False)
        batch_op.create_index(batch_op.f("ix_return_line_return_id"), ["return_id"], unique=False)

    op.create_table(
        "event",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=True),
        sa.Column("refund_id", sa.String(), nullable=True),
        sa.Column("payment_id", sa.String(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("data", columns.Json, nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_event_payment_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["refund_id"], ["refund.id"], name=op.f("fk_event_refund_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_event_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("position", name=op.f("uq_event_position")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_payment_id"), ["payment_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_event_refund_id"), ["refund_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_event_type"), ["type"], unique=False)
        batch_op.create_index(
            "ix_event_unplaced",
            ["id"],
            unique=False,
            postgresql_where=sa.text("position IS NULL"),
            sqlite_where=sa.text("position IS NULL"),
        )
        batch_op.create_index("uq_event_sequence", ["return_id", "sequence"], unique=True)

    op.create_table(
        "receipt_line",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("receipt_id", sa.String(), nullable=False),
        sa.Column("line_id", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("condition", sa.String(), nullable=False),
        sa.Column("disposition", sa.String(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=True),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_receipt_line_quantity")),
        sa.ForeignKeyConstraint(
            ["line_id"], ["return_line.id"], name=op.f("fk_receipt_line_line_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["receipt_id"],
            ["receipt.id"],
            name=op.f("fk_receipt_line_receipt_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt_line")),
    )
    with op.batch_alter_table("receipt_line", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_receipt_line_line_id"), ["line_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_receipt_line_receipt_id"), ["receipt_id"], unique=False)

    op.create_table(
        "undeclared_item",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("receipt_id", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("decision", sa.String(), nullable=True),
        sa.Column("line_id", sa.String(), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", columns.Utc(), nullable=True),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_undeclared_item_quantity")),
        sa.ForeignKeyConstraint(
            ["line_id"],
            ["return_line.id"],
            name=op.f("fk_undeclared_item_line_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["receipt_id"],
            ["receipt.id"],
            name=op.f("fk_undeclared_item_receipt_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_undeclared_item_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_undeclared_item")),
    )
    with op.batch_alter_table("undeclared_item", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_undeclared_item_receipt_id"), ["receipt_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_undeclared_item_return_id"), ["return_id"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("endpoint_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("attempts", columns.Json, nullable=False),
        sa.Column("next_attempt_at", columns.Utc(), nullable=True),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'dead')", name=op.f("ck_delivery_status")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoint.id"],
            name=op.f("fk_delivery_endpoint_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_delivery_event_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_delivery_due",
            ["next_attempt_at"],
            unique=False,
            postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
            sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_delivery_endpoint_id"), ["endpoint_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_delivery_event_id"), ["event_id"], unique=False)
