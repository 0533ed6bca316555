"""The command that takes over open returns of another system."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from returns_service import settings
from returns_service.cli.output import json_option, open_database, run, stop
from returns_service.domain.problems import Problem

if TYPE_CHECKING:
    from returns_service.cli.import_file import FileFormat, Record
    from returns_service.commands.imports import Imported
    from returns_service.domain.stripe_objects import PaymentSnapshot
    from returns_service.settings import Settings
    from returns_service.store.database import Tx
    from returns_service.web.context import Context

READS_AT_ONCE: Final = 8  # of payments at Stripe: far below its limit, and its answers take most of the time
MOST_MISTAKES: Final = 50  # printed of one file
ENDS: Final = ("stripe_unavailable", "stripe_refuses_us", "database_unavailable")  # no other record would fare better
WORDS: Final = {
    "imported": "imported", "there_already": "there already", "changed": "there already, and the file changed since",
    "payment": "payment taken in", "refused": "refused",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one record."""

    line: int
    outcome: str
    external_id: str | None = None
    return_id: str | None = None
    state: str | None = None
    code: str | None = None
    message: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "line": self.line, "external_id": self.external_id, "outcome": self.outcome, "return": self.return_id,
            "state": self.state, "code": self.code, "message": self.message,
        }  # fmt: skip


class OnlyTried(Exception):
    """Ends a transaction of a dry run, with what would have become of it."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.outcome)
        self.result = result


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl"]), help="Unset: what the file's name ends in.")
@click.option("--dry-run", is_flag=True, help="Do everything, payments read at Stripe too, and keep nothing.")
@click.option(
    "--acknowledge", "reason", metavar="REASON",
    help="Say of the payments' other refunds of the past that they are of no return here, so that they hold nothing.",
)  # fmt: skip
@json_option
def import_returns(file: Path, kind: FileFormat | None, dry_run: bool, reason: str | None, as_json: bool) -> None:
    """Take over open returns from elsewhere, each once: run again, it goes on where it stopped.

    JSON Lines: an object a line, as POST /v1/returns takes it, with external_id and, where they are so, approved,
    requested_at and refunds (Stripe's ids of those that have paid of it already), and received_quantity and
    received_condition on a line counted there. CSV: the same names as columns, a row for each line of a return,
    metadata.NAME for metadata; amounts in minor units. A line with payment_intent or charge alone takes in that payment
    with its refunds. The whole file is checked before anything is written. Exit 1 if a line is refused.

    Example: returns-service import open-returns.csv --dry-run
    """
    from returns_service.cli.import_file import format_of

    found = kind or format_of(file)
    if found is None:
        stop(f"{file}: say what it is: --format csv or --format jsonl")
    if reason is not None and not reason.strip():
        stop("--acknowledge: say why in words; the reason is kept in the history")
    total = check_file(file, found)
    results = run(_import(settings.load(), file, found, total, dry_run=dry_run, reason=reason))
    counts = Counter(result.outcome for result in results)
    if as_json:
        summary = {"object": "import", "file": str(file), "dry_run": dry_run, "counts": dict(counts)}
        click.echo(json.dumps({**summary, "results": [one.to_json() for one in results]}, ensure_ascii=False))
    else:
        print_results(results, counts, dry_run=dry_run)
    if counts["refused"]:
        sys.exit(1)


def check_file(file: Path, kind: FileFormat) -> int:
    """Return how many records a file has; end with a line for each mistake where it has any."""
    from returns_service.cli.import_file import Wrong, read_records

    total, mistakes = 0, 0
    for record in read_records(file, kind):
        total += 1
        if isinstance(record, Wrong):
            mistakes += 1
            if mistakes <= MOST_MISTAKES:
                click.echo(f"{file}: line {record.line}: {record.message}", err=True)
    if mistakes:
        stop(f"{file}: {mistakes} to correct; nothing was imported")
    return total


def print_results(results: list[Result], counts: Counter[str], *, dry_run: bool) -> None:
    """Print a line for each record that needs a look, and the sum."""
    for one in results:
        if one.outcome in ("refused", "changed"):
            of = " ".join(word for word in (one.external_id, one.return_id) if word)
            click.echo(f"line {one.line}: {WORDS[one.outcome]}: {of} {one.message or ''}".rstrip())
    said = ", ".join(f"{number} {WORDS[outcome]}" for outcome, number in counts.items()) or "nothing in it"
    click.echo(f"{'Would be: ' if dry_run else ''}{said}.")


async def _import(
    loaded: Settings, file: Path, kind: FileFormat, total: int, *, dry_run: bool, reason: str | None
) -> list[Result]:
    from returns_service.cli.import_file import Record, read_records
    from returns_service.web.context import Context
    from returns_service.wiring import gateway_of, policy_of, prepare

    gateway, policy = gateway_of(loaded), policy_of(loaded)
    try:
        async with open_database(loaded) as database:
            await prepare(database, loaded)
            database.sends_mail = False  # these customers were told by the other system
            context = Context(database, gateway, loaded, policy)
            records = (record for record in read_records(file, kind) if isinstance(record, Record))
            results: list[Result] = []
            try:
                with progress_bar(total) as advance:
                    while chunk := list(itertools.islice(records, READS_AT_ONCE)):
                        results += await take_over(context, chunk, dry_run=dry_run, reason=reason)
                        advance(len(chunk))
            finally:
                await context.line.close()
            return results
    finally:
        await gateway.close()


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Lend a bar on stderr where that is a terminal; elsewhere nobody watches."""
    if not sys.stderr.isatty():
        yield lambda number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda number: bar.update(task, advance=number)


async def take_over(context: Context, records: list[Record], *, dry_run: bool, reason: str | None) -> list[Result]:
    """Read the records' payments at Stripe, beside each other; then write one after the other, in their order."""
    reads = await asyncio.gather(*(_read(context, record) for record in records))
    return [
        await _take(context, record, read, dry_run=dry_run, reason=reason)
        for record, read in zip(records, reads, strict=True)
    ]


async def _read(context: Context, record: Record) -> PaymentSnapshot | Result | Problem:
    """Return a record's payment as Stripe has it; otherwise the earlier import, or why there is none."""
    from returns_service.commands.imports import find_import
    from returns_service.web.operations.ask_stripe import payment_at_stripe

    new = record.new
    if new is not None and (found := await context.database.read(lambda tx: find_import(tx, new))) is not None:
        return _result(record, found)
    try:
        return await payment_at_stripe(context, record.target)
    except Problem as problem:
        return problem


async def _take(
    context: Context, record: Record, read: PaymentSnapshot | Result | Problem, *, dry_run: bool, reason: str | None
) -> Result:
    if isinstance(read, Result):
        return read
    try:
        if isinstance(read, Problem):
            raise read

        async def work(tx: Tx) -> Result:
            result = await _write(context, tx, record, read, reason)
            if dry_run:
                raise OnlyTried(result)
            return result

        return await context.database.run(work, safe_to_repeat=True)
    except OnlyTried as tried:
        return tried.result
    except Problem as problem:
        if problem.code in ENDS:
            stop(f"line {record.line}: {problem.detail} Run it again: it goes on where it stopped")
        external_id = record.new.external_id if record.new else None
        return Result(record.line, "refused", external_id, code=problem.code, message=str(problem.detail))


async def _write(context: Context, tx: Tx, record: Record, seen: PaymentSnapshot, reason: str | None) -> Result:
    """Take the payment in with all its refunds, and the return on it."""
    from returns_service.commands.imports import acknowledge_past, find_import, import_return
    from returns_service.commands.stripe_fold import adopt_payment
    from returns_service.return_case.events import Actor

    by, policy, new = Actor("import"), context.policy, record.new
    locked = await adopt_payment(tx, Actor("stripe"), policy, seen)
    if new is None:
        if reason is not None:
            await acknowledge_past(locked, by, policy, reason)
        return Result(record.line, "payment")
    found = await find_import(tx, new)
    return _result(record, found or await import_return(locked, by, policy, new, reason))


def _result(record: Record, done: Imported) -> Result:
    external_id = record.new.external_id if record.new else None
    return Result(record.line, done.outcome, external_id, done.return_id, done.state)
