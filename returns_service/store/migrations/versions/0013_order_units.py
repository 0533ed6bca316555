"""How many units an order has, over all its returns: its shipping comes back with the last of them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("order_units", sa.Integer(), nullable=True))
