"""The command that prints the refunds as a journal for the books."""

from __future__ import annotations

from datetime import datetime, timedelta

import rich_click as click

from returns_service import settings
from returns_service.cli.operator import ROWS_AT_ONCE, begin_of
from returns_service.cli.output import open_database, run


@click.command()
@click.option(
    "--since",
    callback=begin_of,
    default="30d",
    show_default=True,
    metavar="SPAN",
    help="From when on: 12h, 30d, 4w back, or a day.",
)
@click.option("--until", callback=lambda c, p, v: v and begin_of(c, p, v), metavar="SPAN", help="Until before then.")
def journal(since: timedelta | datetime, until: timedelta | datetime | None) -> None:
    """Print the refunds as CSV: date, order, return, gross, net, tax, currency, status, Stripe's id, reason.

    Times are UTC; the span is of the decisions. Taxes are as far as the returns' lines tell theirs.

    Example: returns-service journal --since 2026-10-01 --until 2026-11-01 > october.csv
    """
    run(_print_journal(since, until))


async def _print_journal(since: timedelta | datetime, until: timedelta | datetime | None) -> None:
    from returns_service.queries.refund_journal import journal_after, journal_head, journal_lines

    async with open_database(settings.load()) as database:
        now = database.now()
        begin, end = (now - moment if isinstance(moment, timedelta) else moment for moment in (since, until))
        click.echo(journal_head(), nl=False)
        after = ""
        while True:
            async with database.reading() as tx:
                entries = await journal_after(tx, begin=begin or now, end=end, after=after, limit=ROWS_AT_ONCE)
                lines = journal_lines(entries)
            click.echo(lines, nl=False)
            if len(entries) < ROWS_AT_ONCE:
                return
            after = entries[-1].refund.id
