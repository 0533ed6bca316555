"""Lists, pages and figures that stay as quick however many returns there are."""

import sqlalchemy as sa
from alembic import op

from returns_service.domain.search_text import metadata_word
from returns_service.store import columns

revision = "0020"
down_revision = "0019"

DROPPED = {
    "return_authorization": ["ix_return_authorization_state"],
    "refund": ["ix_refund_status"],
    "event": ["ix_event_type"],
    "delivery": ["ix_delivery_endpoint_id"],
}
ORDERED = {
    "return_authorization": {
        "ix_return_state": ["state", "id"],
        "ix_return_currency": ["currency", "id"],
        "ix_return_updated": ["updated_at", "id"],
    },
    "refund": {"ix_refund_status": ["status", "id"], "ix_refund_updated": ["updated_at", "id"]},
    "event": {"ix_event_type": ["type", "position"]},
    "stripe_event": {"ix_stripe_event_received_at": ["received_at"]},
    "delivery": {"ix_delivery_endpoint": ["endpoint_id", "id"], "ix_delivery_status": ["status", "id"]},
}
PARTIAL = {
    "return_authorization": {
        "ix_return_parcel_here": ("id", "arrived_at IS NOT NULL AND state IN ('approved', 'refunding', 'failed')"),
    },
    "refund": {
        "ix_refund_unresolved": ("id", "status IN ('failed', 'canceled', 'withdrawn') AND superseded_at IS NULL"),
        "ix_refund_superseded": ("superseded_at", "superseded_at IS NOT NULL"),
        "ix_refund_acknowledged": ("acknowledged_at", "acknowledged_at IS NOT NULL"),
    },
    "payment": {
        "ix_payment_disputed": ("id", "disputed"),
        "ix_payment_external_open": ("id", "external_open"),
    },
    "undeclared_item": {"ix_undeclared_waiting": ("id", "decision IS NULL")},
    "mail": {"ix_mail_ended": ("ended_at", "ended_at IS NOT NULL")},
}
ARRIVED = """
UPDATE return_authorization
SET arrived_at = (SELECT min(receipt.created_at) FROM receipt WHERE receipt.return_id = return_authorization.id)
WHERE id IN (SELECT return_id FROM receipt)
"""


RETURN = sa.table("return_authorization", sa.column("id"), sa.column("metadata", columns.Json))
WORD = sa.table("search_word", sa.column("return_id"), sa.column("word"))
ROWS_AT_ONCE = 1000


def fill_metadata() -> None:
    """Let returns be found by their metadata, some at a time: a shop of years doesn't fit into memory."""
    connection, last = op.get_bind(), ""
    chosen = sa.select(RETURN.c.id, RETURN.c.metadata).order_by(RETURN.c.id).limit(ROWS_AT_ONCE)
    while rows := connection.execute(chosen.where(RETURN.c.id > last)).all():
        pairs = [(row.id, key, value) for row in rows for key, value in row.metadata.items()]
        if pairs:
            words = [{"return_id": row_id, "word": metadata_word(key, value)} for row_id, key, value in pairs]
            connection.execute(sa.insert(WORD), words)
        last = rows[-1].id


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:  # no index is made on a table whose references are still to be checked
        op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with op.batch_alter_table("return_authorization", schema=None) as batch_op:
        batch_op.add_column(sa.Column("arrived_at", columns.Utc(), nullable=True))
    for table, names in DROPPED.items():
        for name in names:
            op.drop_index(name, table_name=table)
    for table, ordered in ORDERED.items():
        for name, keys in ordered.items():
            op.create_index(name, table, keys)
    for table, chosen in PARTIAL.items():
        for name, (key, condition) in chosen.items():
            where = sa.text(condition)
            op.create_index(name, table, [key], postgresql_where=where, sqlite_where=where)
    op.execute(ARRIVED)
    fill_metadata()
    if postgresql:
        op.execute("SET CONSTRAINTS ALL DEFERRED")
