"""How a server begins to listen, and how it stops."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy.exc import DBAPIError

from returns_service import app, cli
from returns_service.app import Server, address_of, family_of, listen
from returns_service.cli.output import explained_errors
from returns_service.settings import SettingsError
from returns_service.store import schema
from returns_service.store.database import Database
from returns_service.wiring import once_reachable
from returns_service.worker.loop import Worker
from tests.harness.deployment import clean_environment
from tests.harness.patience import wait_for
from tests.harness.served_shop import SETTINGS
from tests.harness.shop import KEY, SECRET

EVERYWHERE = str(IPv4Address(0))  # for the blink of an eye
NOWHERE = "http://127.0.0.1:1"
BEGUN = b"POST /webhooks/stripe HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\n"
ONE_OBSERVATION = """
from returns_service import settings
from returns_service.cli import serve_many


class Processes:
    def __init__(self, *_):
        pass

    def run(self, _):
        from returns_service.timings import CLAIMS
        from returns_service.web.metrics import Metrics

        CLAIMS.observe(1.0)
        print(Metrics().text().decode())
        return 0


serve_many.Processes = Processes
serve_many.serve_many(settings.load(), "127.0.0.1", 0, webs=2, with_worker=True)
"""
FAILING_PART = """
from returns_service.cli.processes import Part, Processes


def work(lifeline, ready):
    raise LookupError("nobody has foreseen it")


print("status", Processes([Part("web 1", work)], 1.0).run(lambda: None))
"""


async def test_a_worker_inside_stops_while_the_last_requests_end(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = asyncio.Event()

    async def run(_: Worker, stop: asyncio.Event) -> None:
        await stop.wait()
        stopped.set()

    monkeypatch.setattr(Worker, "run", run)
    settings = SETTINGS.model_copy(update={"database_url": sqlite_url, "stripe_api_base": NOWHERE})
    listener, servers = listen("127.0.0.1", 0), list[Server]()
    port = listener.getsockname()[1]
    serving = asyncio.create_task(
        app.serve(settings, listener, with_worker=True, own_signals=False, on_ready=servers.append)
    )
    await wait_for(lambda: servers, "the server", progress=serving.done)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(BEGUN)
    (server,) = servers
    await wait_for(lambda: server.server_state.tasks, "the request", progress=serving.done)
    server.stop()
    await wait_for(stopped.is_set, "the worker's end", progress=serving.done)
    assert server.server_state.tasks, "the request is still under way"
    writer.close()
    await serving


@pytest.mark.parametrize("host, shown", [("127.0.0.1", "http://127.0.0.1:"), (EVERYWHERE, "http://127.0.0.1:")])
def test_a_server_says_where_a_browser_finds_it(host: str, shown: str) -> None:
    with closing(listen(host, 0)) as listener:
        assert address_of(listener).startswith(shown)


def test_an_ipv6_address_is_listened_on_as_one() -> None:
    v4, v6 = socket.AF_INET, socket.AF_INET6
    assert [family_of(host) for host in ("::", "::1", EVERYWHERE, "localhost")] == [v6, v6, v4, v4]


def run_code(code: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(**settings), cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_the_figures_of_many_webs_hold_those_without_labels(sqlite_url: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": sqlite_url, "STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET}
    done = run_code(ONE_OBSERVATION, tmp_path, RETURNS_LOG_LEVEL="error", **settings)
    assert "returns_claim_seconds_count 1.0" in done.stdout.splitlines()


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    done = run_code(FAILING_PART, tmp_path)
    assert "status 1" in done.stdout.splitlines()
    assert "LookupError: nobody has foreseen it" in done.stdout + done.stderr


def test_a_databases_hints_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), explained_errors():
        raise DBAPIError("SELECT 1", {}, Exception("no such thing\nHINT:  There is another."))
    assert capsys.readouterr().err.splitlines() == [
        "returns-service: DATABASE_URL: the database can't be used: no such thing HINT: There is another."
    ]


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "postgresql://nobody@/none?host=/nowhere"])
@pytest.mark.parametrize("words", [["migrate"], ["keys", "list"]])
def test_a_database_that_is_away_is_named_by_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(sys, "argv", ["returns-service", *words])
    with pytest.raises(SystemExit):
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("returns-service: DATABASE_URL: the database can't be reached (")


def test_a_password_that_is_no_text_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    words = ["users", "add", "mia@shop.test", "--role", "admin", "--password-stdin"]
    done = CliRunner(env={"DATABASE_URL": sqlite_url}).invoke(cli.commands, words, input=b"\xff\xfe\n")
    assert (done.exit_code, "not UTF-8" in done.output) == (2, True)


async def test_a_migration_waits_for_a_postgresql_that_starts(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    refusals = [ConnectionRefusedError(), ConnectionRefusedError()]

    async def look() -> str | None:
        if refusals:
            raise refusals.pop()
        return await schema.current_revision(database)

    try:
        assert await once_reachable(database, look, wait_seconds=60) == schema.head()
        refusals.append(ConnectionRefusedError())
        with pytest.raises(SettingsError, match="can't be reached"):
            await once_reachable(database, look, wait_seconds=0)
    finally:
        await database.close()
