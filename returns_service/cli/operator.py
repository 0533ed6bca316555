"""Commands for whoever looks after the books: see what waits, compare with Stripe, forget a person."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import rich_click as click

from returns_service import settings
from returns_service.cli.output import json_option, open_database, print_rows, progress_bar, run, stop, with_database
from returns_service.domain.vocabulary import DESK_KINDS, DeskKind, find_word
from returns_service.settings import Settings

if TYPE_CHECKING:
    from returns_service.store.database import Database, Tx
    from returns_service.worker.reconcile import Report

UNITS = {"h": 3600, "d": 86_400, "w": 604_800}
ROWS_AT_ONCE = 500
WORDS = {
    "missing_here": "missing here",
    "missing_at_stripe": "missing at Stripe",
    "other_amount": "other amount",
    "other_status": "other status",
    "two_for_one_intent": "two for one intent",
    "not_rebuilt": "could not be rebuilt",
}


def _span(value: str) -> timedelta | None:
    found = re.fullmatch(r"([0-9]{1,5})([hdw])", value)
    return timedelta(seconds=int(found[1]) * UNITS[found[2]]) if found else None


def begin_of(_: click.Context, __: click.Parameter, value: str) -> timedelta | datetime:
    """Return what `--since` means: a span back from now (`12h`, `30d`, `4w`), or a day (`2026-11-01`)."""
    if (span := _span(value)) is not None:
        return span
    try:
        day = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no span like 12h, 30d or 4w, and no day like 2026-11-01") from None
    try:
        return day.astimezone(UTC) if day.tzinfo else day.replace(tzinfo=UTC)
    except OverflowError:  # in UTC it lies before the year 1, or after 9999
        raise click.BadParameter(f"{value!r} is no day of these ten thousand years") from None


@click.command()
@click.option(
    "--since",
    callback=begin_of,
    default="30d",
    show_default=True,
    metavar="SPAN",
    help="How far to look back: 12h, 30d, 4w, or from a day on.",
)
@click.option("--fix", is_flag=True, help="Adopt and repair what is safe; the rest is left, and said.")
@json_option
def reconcile(since: timedelta | datetime, fix: bool, as_json: bool) -> None:
    """Compare Stripe's refunds with ours, both ways. Exit 1 while anything differs.

    An interrupted comparison goes on where it was. An intent nobody knows the outcome of is listed as open, not as a
    difference. Without --fix nothing is changed.

    Example: returns-service reconcile --since 30d --fix
    """
    from returns_service.stripe_gateway import StripeSilent

    loaded = settings.load()
    try:
        differs = run(_reconcile_payments(loaded, since, fix, as_json))
    except StripeSilent as silence:
        stop(f"Stripe: {silence}. Run it again: it goes on where it stopped")
    if differs:
        sys.exit(1)


async def _reconcile_payments(loaded: Settings, since: timedelta | datetime, fix: bool, as_json: bool) -> bool:
    from returns_service.wiring import gateway_of, policy_of, prepare
    from returns_service.worker.reconcile import reconcile as compare

    gateway, policy = gateway_of(loaded), policy_of(loaded)
    try:
        async with open_database(loaded) as database:
            await prepare(database, loaded)
            begin = database.now() - since if isinstance(since, timedelta) else since
            with progress_bar("Comparing with Stripe", "refunds") as progress:
                report = await compare(database, gateway, begin, fix=fix, progress=progress, policy=policy)
            await (print_json if as_json else print_report)(database, report)
            return report.differs
    finally:
        await gateway.close()


async def rows_of(database: Database, report: Report) -> AsyncIterator[dict[str, Any]]:
    """Yield a report's rows, a page in memory at a time."""
    from returns_service.commands.reconciliation_runs import differences_after, show_difference
    from returns_service.return_case.events import to_json_object

    after = ""
    while True:
        async with database.reading() as tx:
            rows = await differences_after(tx, report.run.id, after, ROWS_AT_ONCE)
        for row in rows:
            yield to_json_object(show_difference(row))
        if len(rows) < ROWS_AT_ONCE:
            return
        after = rows[-1].id


async def print_json(database: Database, report: Report) -> None:
    """Print the report as one JSON object, written as it is read."""
    from returns_service.commands.reconciliation_runs import show_run
    from returns_service.return_case.events import to_json_object

    run_ = to_json_object(show_run(report.run, database.now()))
    head = json.dumps({**run_, "differs": report.differs}, ensure_ascii=False)
    click.echo(head[:-1] + ', "differences": [', nl=False)
    between = ""
    async for row in rows_of(database, report):
        click.echo(between + json.dumps(row, ensure_ascii=False), nl=False)
        between = ", "
    click.echo("]}")


async def print_report(database: Database, report: Report) -> None:
    """Print a line for each row, what is left to do below it, and the sum."""
    counts, run_ = report.run.counts, report.run
    async for row in rows_of(database, report):
        if row["code"] == "external":
            continue  # counted below
        ids = " ".join(str(row[name]) for name in ("stripe_refund", "refund", "return") if row[name])
        outcome = "" if row["outcome"] == "found" else f" [{row['outcome']}]"
        click.echo(f"{WORDS.get(row['code'], row['code'])}{outcome}: {ids}\n    {row['cause']}")
        if row["advice"] and row["outcome"] != "fixed":
            click.echo(f"    {row['advice']}")
    said = {
        "compared": counts.get("at_stripe", 0),
        "repaired": counts.get("fixed", 0),
        "differing": run_.differing or 0,
        "open": counts.get("open", 0),
        "made outside": counts.get("external", 0),
        "of payments never seen here": counts.get("unknown_payment", 0),
    }
    click.echo(f"{run_.id}: " + ", ".join(f"{number} {word}" for word, number in said.items()))
    if report.differs and not run_.fix:
        click.echo("To adopt and repair what is safe: returns-service reconcile --fix")


def kind_of(_: click.Context, __: click.Parameter, value: str | None) -> DeskKind | None:
    """Return a kind of thing on the desk."""
    kind = find_word(DESK_KINDS, value)
    if value is not None and kind is None:
        raise click.BadParameter(f"{value!r} is none of {', '.join(DESK_KINDS)}")
    return kind


@click.command()
@click.option("--kind", callback=kind_of, help="Only things of this kind.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many to print.")
@json_option
def desk(kind: DeskKind | None, limit: int, as_json: bool) -> None:
    """Show what waits for a person, most urgent first, then oldest. Exit 1 while anything does (of that kind).

    Example: returns-service desk --kind refund_failed
    """
    from returns_service.queries import desk
    from returns_service.queries.desk_items import show_page
    from returns_service.return_case.events import to_json_object
    from returns_service.wiring import policy_of

    policy = policy_of(settings.load())

    async def look(tx: Tx) -> dict[str, Any]:
        found = await desk.entries(tx, limit=limit + 1, kinds=[kind] if kind else None) or []
        figures = await desk.read_figures(tx)
        page = await show_page(tx, policy, found[:limit], figures, has_more=len(found) > limit)
        return to_json_object(page)

    page = with_database(look)
    if as_json:
        click.echo(json.dumps(page, ensure_ascii=False))
    else:
        rows = [desk_row(item) for item in page["data"]]
        print_rows(rows, as_json=False, empty="Nothing waits for a person.")
        if page["has_more"]:
            click.echo(f"More wait: {', '.join(f'{n} {k}' for k, n in page['totals'].items() if n)}", err=True)
    if page["data"]:
        sys.exit(1)


def desk_row(item: dict[str, Any]) -> dict[str, Any]:
    """Return one thing as a row for people."""
    amount = f"{item['amount']} {item['currency']}" if item["amount"] is not None else None  # minor units
    of = [item[name] for name in ("return", "refund", "stripe_event", "reconciliation") if item[name]]
    said = f"{item['message']} {item['advice']}"
    return {
        "kind": item["kind"],
        "since": item["since"],
        "of": of,
        "minor units": amount,
        "what": said,
        "actions": item["actions"],
    }


@click.command()
@click.option("--order", "order_id", help="Forget the customer of this order.")
@click.option("--email", help="Forget the customer with this e-mail address.")
@click.option("--payment", help="Forget the customer of this payment: pi_…, ch_… or pay_….")
@json_option
def forget(order_id: str | None, email: str | None, payment: str | None, as_json: bool) -> None:
    """Redact personal data of an order, a customer or a payment; amounts, statuses and ids stay. Safe to do twice.

    Example: returns-service forget --order order_98765
    """
    from returns_service import wiring
    from returns_service.commands import erasure
    from returns_service.return_case.events import Actor

    if [order_id, email, payment].count(None) != 2:
        stop("Say whom to forget, by one of --order ID, --email ADDRESS and --payment ID")
    loaded = settings.load()
    policy, named = wiring.policy_of(loaded), {"order_id": order_id, "email": email, "payment": payment}

    async def inside() -> erasure.Forgotten:
        async with open_database(loaded) as database:
            done = await database.run(lambda tx: erasure.forget(tx, Actor("forget"), policy, **named))
            if not await database.empty_journal():
                done.leave(erasure.JOURNAL_HOLDS)
            return done

    done = run(inside())
    if as_json:
        click.echo(json.dumps(done.to_json(), ensure_ascii=False))
        return
    if not done.counts:
        click.echo("Nothing personal of theirs is here.")
    for kind, number in sorted(done.counts.items()):
        click.echo(f"{kind}: {number} redacted")
    for words in done.left:
        click.echo(f"left: {words}")
    click.echo("Stripe holds its own copy of the customer's data: https://docs.stripe.com/disputes/data-redaction")
