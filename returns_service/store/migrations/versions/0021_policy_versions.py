"""Versions of the policy: the rules that were in force, and which of them a return was approved under."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "policy_version",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("policy", columns.Json, nullable=False),
        sa.Column("first_in_force_at", columns.Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_version")),
    )
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("policy_version", sa.String(), nullable=True))
