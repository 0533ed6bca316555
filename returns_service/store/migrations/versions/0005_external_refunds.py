"""Refunds made outside: the payment they hold, and when a person acknowledged them."""

import sqlalchemy as sa
from alembic import op

from returns_service.store import columns

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.add_column(sa.Column("external_open", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("refund", schema=None) as batch_op:
        batch_op.add_column(sa.Column("overrides_hold", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("acknowledged_at", columns.Utc(), nullable=True))
    hold_payments()


PAYMENT = sa.table("payment", sa.column("id"), sa.column("external_open"))
RETURN = sa.table("return_authorization", sa.column("payment_id"), sa.column("state"))
REFUND = sa.table(
    "refund", *(sa.column(name) for name in ("payment_id", "return_id", "source", "status", "duplicate_of"))
)


def hold_payments() -> None:
    """Hold the payments on which somebody refunded outside while a return, or a refund, still waits for money.

    Nobody was asked until now what such a refund was for. Where nothing waits, nobody needs to be.
    """
    outside, unsent = REFUND.alias(), REFUND.alias()
    made = sa.exists().where(
        outside.c.payment_id == PAYMENT.c.id,
        outside.c.source == "external",
        outside.c.return_id.is_(None),
        outside.c.duplicate_of.is_(None),
        outside.c.status.not_in(("failed", "canceled")),
    )
    waits = sa.or_(
        sa.exists().where(
            RETURN.c.payment_id == PAYMENT.c.id,
            RETURN.c.state.in_(("requested", "approved", "refunding", "failed")),
        ),
        sa.exists().where(unsent.c.payment_id == PAYMENT.c.id, unsent.c.status == "queued"),
    )
    op.execute(sa.update(PAYMENT).where(made, waits).values(external_open=sa.true()))
