"""What a customer may choose from at the portal; which open returns of another system were imported."""

import sqlalchemy as sa
from alembic import op

from returns_service.store.columns import MaybeJson, Utc

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("portal_session", sa.Column("resolutions", MaybeJson, nullable=True))
    op.create_table(
        "imported_return",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("return_id", sa.String(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["return_id"],
            ["return_authorization.id"],
            name=op.f("fk_imported_return_return_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_imported_return")),
    )
    op.create_index("ix_imported_return_return_id", "imported_return", ["return_id"], unique=False)
