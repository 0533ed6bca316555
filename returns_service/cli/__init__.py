"""The command line: parse, call, print. Errors are one line on stderr and a non-zero exit."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click
from click.exceptions import Exit, NoArgsIsHelpError

from returns_service import __version__, settings
from returns_service.cli import doctor, keys, operator, people
from returns_service.cli.deploy import deploy
from returns_service.cli.imports import import_returns
from returns_service.cli.journal import journal
from returns_service.cli.output import (
    explained_errors,
    json_option,
    log_quietly,
    print_rows,
    reaching_database,
    run,
    stop,
)
from returns_service.cli.policy import policy
from returns_service.domain import machine_diagram, return_machine

OPENAPI = Path("openapi/openapi.yaml")
port_option = click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
host_option = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")


def main() -> None:
    """Run the command line."""
    try:
        with explained_errors():
            commands(standalone_mode=False)
    except Exit as done:
        sys.exit(done.exit_code)
    except NoArgsIsHelpError as asked:
        asked.show()
        sys.exit(asked.exit_code)
    except click.ClickException as wrong:
        context = getattr(wrong, "ctx", None)
        where = f" See: {context.command_path} --help" if context else ""
        said = " ".join(wrong.format_message().split())  # choices come on lines of their own
        stop(f"{said}{where}", status=wrong.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="returns-service")
def commands() -> None:
    """Returns, from the shop's request to the customer's money: refunded once, exactly as decided.

    Example: returns-service demo
    """


@commands.command()
@port_option
@click.option("--exit", "and_exit", is_flag=True, help="End after the story: 0 only if the proof holds.")
@json_option
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the data in this folder.")
@click.option("--days", type=click.IntRange(0, 365), default=90, show_default=True, help="Days of history before it.")
def demo(port: int, and_exit: bool, as_json: bool, data: Path | None, days: int) -> None:
    """Play a shop's day on SQLite and the built-in Stripe simulator, then keep serving: every page has work on it.

    Example: returns-service demo --exit
    """
    from returns_service.demo import play

    sys.exit(run(play(port=port, and_exit=and_exit, as_json=as_json, data=data, days=days)))


@commands.command()
@host_option
@port_option
@click.option("--no-worker", is_flag=True, help="Web only; workers run elsewhere.")
@click.option(
    "--webs", type=click.IntRange(1, 64), default=1, show_default=True,
    help="Web processes on the port, and a worker in one of its own; PostgreSQL only.",
)  # fmt: skip
def serve(host: str, port: int, no_worker: bool, webs: int) -> None:
    """Serve the API, with a worker inside.

    Example: returns-service serve --port 8000 --webs 4
    """
    from returns_service import logs

    loaded = settings.load()
    logs.set_up_logs(loaded)
    loaded.require_stripe()
    if webs > 1 and not loaded.database_url.startswith("postgres"):
        click.echo("SQLite has one writer at a time, so one process serves: --webs needs PostgreSQL.", err=True)
        webs = 1
    if webs > 1:
        from returns_service.cli.serve_many import serve_many

        sys.exit(serve_many(loaded, host, port, webs=webs, with_worker=not no_worker))
    from returns_service import app, wiring

    wiring.policy_of(loaded)
    listener = app.listen(host, port)
    address = app.address_of(listener)
    run(
        app.serve(
            loaded,
            listener,
            with_worker=not no_worker,
            on_ready=lambda _: click.echo(f"ready {address}"),
        )
    )


@commands.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), help="Refunds under way at once; unset: RETURNS_WORKER_CONCURRENCY."
)
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), help="Answer Prometheus at this port; without it nothing listens."
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="The address of that port.")
def worker(concurrency: int | None, metrics_port: int | None, metrics_host: str) -> None:
    """Send refunds, read news again, sweep. Any number of workers may run.

    Example: returns-service worker --concurrency 64
    """
    from returns_service import app, logs

    loaded = settings.load(**({"worker_concurrency": concurrency} if concurrency else {}))
    logs.set_up_logs(loaded)
    figures_at = (metrics_host, metrics_port) if metrics_port else None
    run(app.work(loaded, on_ready=lambda: click.echo("ready"), figures_at=figures_at))


@commands.command()
@click.option(
    "--wait", "wait_seconds", type=click.FloatRange(0, 3600), default=0, help="Seconds to wait for PostgreSQL to start."
)
def migrate(wait_seconds: float) -> None:
    """Bring the database's schema to this release's, under a lock.

    Example: DATABASE_URL=postgresql://… returns-service migrate
    """
    from returns_service.store import schema

    loaded = settings.load()
    log_quietly(loaded)

    async def work() -> tuple[str | None, str | None]:
        from returns_service.wiring import database_of, once_reachable

        database = database_of(loaded)
        try:
            with reaching_database():
                before = await once_reachable(database, lambda: schema.current_revision(database), wait_seconds)
            await schema.upgrade(database)
            return before, await schema.current_revision(database)
        finally:
            await database.close()

    before, after = run(work())
    click.echo(f"The schema is at {after}." if before == after else f"The schema went from {before} to {after}.")


@commands.command()
@host_option
@click.option("--port", type=click.IntRange(0, 65535), default=12111, show_default=True)
@click.option("--webhook-url", help="Where all events are posted.")
@click.option("--webhook-secret", help="The secret that signs them.")
@click.option("--seed", type=int, help="The same seed makes the same ids.")
def simulator(host: str, port: int, webhook_url: str | None, webhook_secret: str | None, seed: int | None) -> None:
    """Run the Stripe simulator alone; prints `ready` and its address. Its page is /_control/.

    Example: returns-service simulator --webhook-url http://127.0.0.1:8000/webhooks/stripe --webhook-secret whsec_…
    """
    from returns_service.stripe_simulator import run as run_simulator

    run_simulator(host, port, webhook_url, webhook_secret, seed)


@commands.command()
@click.option("--format", "form", type=click.Choice(["table", "mermaid"]), default="table", show_default=True)
@json_option
def states(form: str, as_json: bool) -> None:
    """Show the return's state machine as it is declared.

    Example: returns-service states --format mermaid
    """
    if form == "mermaid":
        click.echo(machine_diagram.diagram(), nl=False)
        return
    rule = [dest for dest, _ in return_machine.RULE]
    rows = [
        {
            "trigger": row["trigger"],
            "from": ", ".join(row["from"]),
            "to": "by the rule" if row["to"] == rule else ", ".join(row["to"]),
            "guards": ", ".join(row["guards"]),
        }
        for row in machine_diagram.table()
    ]
    print_rows(rows, as_json)


@commands.command()
@click.option("--check", is_flag=True, help=f"Fail if {OPENAPI} differs from what is served.")
@click.option("--write", is_flag=True, help=f"Write {OPENAPI}.")
def openapi(check: bool, write: bool) -> None:
    """Print the API's contract as it is served (OpenAPI 3.1, YAML).

    Example: returns-service openapi --check
    """
    from returns_service.web.api.openapi import document
    from returns_service.web.routes import OPERATIONS

    served = document(OPERATIONS)
    if write:
        OPENAPI.parent.mkdir(exist_ok=True)
        OPENAPI.write_text(served, encoding="utf-8")
    elif check:
        if not OPENAPI.exists() or OPENAPI.read_text(encoding="utf-8") != served:
            stop(f"{OPENAPI} is not what is served. Run: returns-service openapi --write")
        click.echo(f"{OPENAPI} is what is served.")
    else:
        click.echo(served, nl=False)


commands.add_command(keys.keys)
commands.add_command(people.users)
commands.add_command(people.devices)
commands.add_command(doctor.doctor)
commands.add_command(operator.desk)
commands.add_command(operator.reconcile)
commands.add_command(operator.forget)
commands.add_command(journal)
commands.add_command(policy)
commands.add_command(deploy)
commands.add_command(import_returns)
