"""What all commands of the terminal share: run, print, stop with one line, open the database."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import rich_click as click
from sqlalchemy.exc import SQLAlchemyError

from returns_service import settings
from returns_service.domain.policy import PolicyError
from returns_service.domain.problems import Problem
from returns_service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from returns_service.store.database import Database

T = TypeVar("T")
KEEP_IT = "Keep the secret now: it is not shown again."
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def stop(reason: str, *, status: int = 1) -> NoReturn:
    """End with one line on stderr, and with this exit status."""
    click.echo(f"returns-service: {reason}", err=True)
    sys.exit(status)


@contextmanager
def explained_errors() -> Iterator[None]:
    """End with one line on stderr where something is wrong that a person can mend."""
    try:
        yield
    except (SettingsError, PolicyError, Problem, OSError) as error:
        stop(str(error) or type(error).__name__)  # a timeout has no words
    except SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split())  # a server's has lines of hints
        stop(f"DATABASE_URL: the database can't be used: {said}")


@contextmanager
def reaching_database() -> Iterator[None]:
    """Say which setting is about a database that can't be reached. Raises SettingsError."""
    try:
        yield
    except OSError as error:
        why = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise SettingsError(f"DATABASE_URL: the database can't be reached ({why})") from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def log_quietly(loaded: Settings) -> None:
    """Log to stderr what went wrong, or more if somebody asked for it: stdout is the command's answer, JSON perhaps."""
    from returns_service.logs import set_up_logs

    quiet = {} if "log_level" in loaded.model_fields_set else {"log_level": "warning"}
    set_up_logs(loaded.model_copy(update=quiet))


@asynccontextmanager
async def open_database(loaded: Settings) -> AsyncIterator[Database]:
    """Lend the settings' database; an SQLite file is migrated first. Raises SettingsError for an old schema."""
    from returns_service.store import schema
    from returns_service.wiring import database_of

    log_quietly(loaded)
    database = database_of(loaded)
    try:
        with reaching_database():
            if not database.postgresql:
                await schema.upgrade(database)
            elif await schema.is_behind(database):
                raise SettingsError("The database's schema is older than this release. Run: returns-service migrate")
        yield database
    finally:
        await database.close()


def with_database(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Do `work` in one transaction of the settings' database."""
    loaded: Settings = settings.load()

    async def inside() -> T:
        async with open_database(loaded) as database:
            return await database.run(work)

    return run(inside())


def print_rows(rows: list[dict[str, Any]], as_json: bool, empty: str = "Nothing.") -> None:
    """Print rows as a table on a terminal, tab-separated off it, or as JSON."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    elif not rows:
        click.echo(empty)
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(Text(word(value)) for value in row.values()))  # as it is: a [ is no markup
        Console().print(table)
    else:
        for row in rows:
            click.echo("\t".join(word(value) for value in row.values()))


def word(value: object) -> str:
    """Return a cell's text, on one line; a stranger's control characters move no cursor."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


@contextmanager
def progress_bar(title: str, things: str) -> Iterator[Callable[[float, int], None]]:
    """Lend a bar on stderr that takes the share done and the number of things; off a terminal nobody watches."""
    if not sys.stderr.isatty():
        yield lambda share, number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), TextColumn(f"{{task.fields[number]:,}} {things}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, number=0)
        yield lambda share, number: bar.update(task, completed=share, number=number)
