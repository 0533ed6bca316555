"""Codes for what a refund waits for and why a webhook endpoint is disabled: sentences are made where they are shown."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# The sentences that releases before this one stored, and what they mean. The group is what the new sentence quotes.
WAITING = (
    ("customer_action", r"The customer has to act\b"),
    ("balance_too_low", r"The Stripe balance is too low\b"),
    ("payment_unsettled", r"The payment itself is not settled yet\b"),
    ("bank_processing", r"The bank is processing it\b"),
    ("no_answer", r"The money may or may not have moved\b"),
    ("stored_error", r"Stripe answered with an error and kept no refund\b"),
    ("key_expired", r"Stripe has no such refund, a day after\b"),
    ("stripe_unavailable", r"Stripe can't take it right now \((.*?)\); nothing has moved"),
    ("in_doubt", r"Stripe can't be asked right now \((.*?)\); an earlier"),
    ("refusal_unconfirmed", r"Stripe refused it \((.*?)\); the payment is read again"),
    ("payment_missing", r"Stripe says it knows no such payment\b"),
    ("refund_missing", r"Stripe says it has no re_"),
)
DISABLED = (
    ("person", r"Disabled by (.*?)\.?$"),
    ("http_gone", r"It answered 410 Gone\b"),
    ("nothing_arrived", r"Nothing arrived for \d+ days\. The last call: (.*)"),
)


def upgrade() -> None:
    with op.batch_alter_table("refund") as batch_op:
        batch_op.add_column(sa.Column("waiting_code", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("waiting_detail", sa.String(), nullable=True))
    with op.batch_alter_table("webhook_endpoint") as batch_op:
        batch_op.add_column(sa.Column("disabled_by", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("disabled_detail", sa.String(), nullable=True))
    fill("refund", "waits_for", "waiting_code", "waiting_detail", WAITING)
    fill("webhook_endpoint", "disabled_reason", "disabled_by", "disabled_detail", DISABLED)


def fill(table: str, sentence: str, code: str, detail: str, meanings: tuple[tuple[str, str], ...]) -> None:
    """Write the code of every sentence that is known; any other stays, and is read as `unknown_reason`."""
    connection = op.get_bind()
    rows = sa.table(table, *(sa.column(name) for name in ("id", "status", "generation", sentence, code, detail)))
    for row in connection.execute(sa.select(rows.c.id, rows.c[sentence]).where(rows.c[sentence].is_not(None))).all():
        meaning = meaning_of(row[1], meanings)
        if meaning is not None:
            values = {code: meaning[0], detail: meaning[1], sentence: None}
            connection.execute(sa.update(rows).where(rows.c.id == row[0]).values(values))
    if table == "refund":  # a refusal that may pass began with Stripe's own words
        refused = rows.c[sentence].is_not(None) & (rows.c.generation > 1) & (rows.c.status == "queued")
        words = {code: "refused_for_now", detail: rows.c[sentence], sentence: sa.null()}
        connection.execute(sa.update(rows).where(refused).values(words))


def meaning_of(words: str, meanings: tuple[tuple[str, str], ...]) -> tuple[str, str | None] | None:
    """Return the code of a stored sentence and what it quotes."""
    for code, pattern in meanings:
        if found := re.match(pattern, words):
            return code, found[1] if found.re.groups else None
    return None
