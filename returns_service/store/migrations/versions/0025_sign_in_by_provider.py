"""Sign-in by an OpenID Connect provider: a person's subject there, and the group that gave their role."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
WAYS = "way IN ('password', 'link', 'badge', 'pin', 'provider')"


def upgrade() -> None:
    with op.batch_alter_table("staff_user") as batch_op:
        batch_op.add_column(sa.Column("role_group", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("oidc_issuer", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("oidc_subject", sa.String(), nullable=True))
        batch_op.create_index("uq_staff_user_oidc", ["oidc_issuer", "oidc_subject"], unique=True)
    with op.batch_alter_table("staff_session") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_staff_session_way"), type_="check")
        batch_op.create_check_constraint(batch_op.f("ck_staff_session_way"), WAYS)
