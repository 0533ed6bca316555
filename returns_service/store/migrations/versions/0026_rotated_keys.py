"""Rotated keys: the key that a key came from, so that a request repeated under its successor is done once."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.add_column(sa.Column("first_id", sa.String(), nullable=True))
