"""The dock: barcodes, scans as they were read, units without a place, parcels nobody expected or authorized."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "unmatched_receipt",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("tracking_number", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("items", columns.Json, nullable=False),
        sa.Column("received_by", sa.String(), nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.Column("receipt_id", sa.String(), nullable=True),
        sa.Column("return_id", sa.String(), nullable=True),
        sa.Column("attached_by", sa.String(), nullable=True),
        sa.Column("attached_at", columns.Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["receipt_id"], ["receipt.id"], name=op.f("fk_unmatched_receipt_receipt_id"),
            initially="DEFERRED", deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["return_id"], ["return_authorization.id"], name=op.f("fk_unmatched_receipt_return_id"),
            initially="DEFERRED", deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmatched_receipt")),
    )  # fmt: skip
    with op.batch_alter_table("unmatched_receipt") as batch_op:
        for column in ("order_id", "tracking_number", "receipt_id", "return_id"):
            batch_op.create_index(batch_op.f(f"ix_unmatched_receipt_{column}"), [column])
    add_index("ix_unmatched_open", "unmatched_receipt", "created_at", "receipt_id IS NULL")
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("overpaid_since", columns.Utc(), nullable=True))
    add_index("ix_return_overpaid", "return_authorization", "overpaid_since", "overpaid_since IS NOT NULL")
    with op.batch_alter_table("return_line") as batch_op:
        batch_op.add_column(sa.Column("barcodes", columns.MaybeJson, nullable=True))
    with op.batch_alter_table("receipt") as batch_op:
        batch_op.add_column(sa.Column("unexpected", sa.Boolean(), server_default=sa.false(), nullable=False))
    add_index("ix_receipt_unexpected", "receipt", "return_id", "unexpected AND reversed_at IS NULL")
    with op.batch_alter_table("receipt_line") as batch_op:
        batch_op.add_column(sa.Column("uncounted", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("scanned", sa.String(), nullable=True))
    with op.batch_alter_table("undeclared_item") as batch_op:
        batch_op.add_column(sa.Column("surplus_of", sa.String(), nullable=True))
    add_index("ix_undeclared_open", "undeclared_item", "return_id", "decision IS NULL")


def add_index(name: str, table: str, column: str, where: str) -> None:
    """Add an index over the rows that meet `where`."""
    op.create_index(name, table, [column], postgresql_where=sa.text(where), sqlite_where=sa.text(where))
