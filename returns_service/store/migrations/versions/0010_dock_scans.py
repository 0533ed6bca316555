"""The dock: scans that are not yet a receipt."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "dock_scan",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=False),
        sa.Column("receipt_id", sa.String(), nullable=True),
        sa.Column("line_id", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("condition", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("surplus", sa.Boolean(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("scanned_by", sa.String(), nullable=False),
        sa.Column("scanned_at", columns.Utc(), nullable=False),
        sa.Column("undone_at", columns.Utc(), nullable=True),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_dock_scan_quantity")),
        sa.ForeignKeyConstraint(
            ["receipt_id"], ["receipt.id"], name=op.f("fk_dock_scan_receipt_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_dock_scan_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dock_scan")),
    )
    with op.batch_alter_table("dock_scan", schema=None) as batch_op:
        batch_op.create_index(
            "ix_dock_scan_open",
            ["return_id"],
            unique=False,
            postgresql_where=sa.text("receipt_id IS NULL"),
            sqlite_where=sa.text("receipt_id IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_dock_scan_return_id"), ["return_id"], unique=False)
