"""Past addresses: a customer is forgotten by an address that was corrected since, too."""

import sqlalchemy as sa
from alembic import op

from returns_service.store.columns import MaybeJson

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    with op.batch_alter_table("return_authorization") as batch_op:
        batch_op.add_column(sa.Column("past_email_texts", MaybeJson, nullable=True))
    where = sa.text("past_email_texts IS NOT NULL")
    op.create_index("ix_return_past_emails", "return_authorization", ["id"], postgresql_where=where, sqlite_where=where)
