"""${message[0].upper() + message[1:]}."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
