"""What people keep on their pages: saved views, photos of the dock, and the numbers of parcels of nobody."""

import sqlalchemy as sa
from alembic import op

from returns_service.domain.slip_code import slip_code
from returns_service.store import columns

revision = "0018"
down_revision = "0017"
PARCEL = sa.table("unmatched_receipt", sa.column("id"), sa.column("number"))


def upgrade() -> None:
    op.create_table(
        "saved_view",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("filters", columns.Json, nullable=False),
        sa.Column("created_at", columns.Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["staff_user.id"], name=op.f("fk_saved_view_user_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_view")),
    )
    with op.batch_alter_table("saved_view", schema=None) as batch_op:
        batch_op.create_index("uq_saved_view_name", ["user_id", "name"], unique=True)
    with op.batch_alter_table("photo", schema=None) as batch_op:
        batch_op.add_column(sa.Column("about_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("added_by", sa.String(), nullable=True))
        batch_op.create_index(batch_op.f("ix_photo_about_id"), ["about_id"], unique=False)
    with op.batch_alter_table("unmatched_receipt", schema=None) as batch_op:
        batch_op.add_column(sa.Column("number", sa.String(), nullable=True))
    number_parcels()
    with op.batch_alter_table("unmatched_receipt", schema=None) as batch_op:
        batch_op.create_index("uq_unmatched_number", ["number"], unique=True)


def number_parcels() -> None:
    """Give each parcel that is here the first of its id's numbers that no other parcel has."""
    connection, taken = op.get_bind(), set[str]()
    for row in connection.execute(sa.select(PARCEL.c.id).order_by(PARCEL.c.id)).all():
        number = next(code for draw in range(len(taken) + 1) if (code := slip_code(row.id, draw)) not in taken)
        taken.add(number)
        connection.execute(sa.update(PARCEL).where(PARCEL.c.id == row.id).values(number=number))
