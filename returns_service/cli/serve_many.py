"""`serve --webs N`: N web processes on one port, and a worker beside them."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any

import rich_click as click

from returns_service.cli.output import explained_errors, run
from returns_service.cli.processes import Part, Processes
from returns_service.process_settings import COUNTS_FOLDER
from returns_service.settings import Settings

BESIDE_REQUESTS_SECONDS = 10.0  # what a stop takes beside the requests and calls under way


def serve_many(settings: Settings, host: str, port: int, *, webs: int, with_worker: bool) -> int:
    """Serve with several processes until a signal comes; return the exit status. Raises SettingsError."""
    from prometheus_client import values

    folder = tempfile.mkdtemp(prefix="returns-counts-")
    os.environ[COUNTS_FOLDER] = folder
    choose: Any = values.get_value_class  # the library looked for the folder when it was imported
    values.ValueClass = choose()
    from returns_service import app, wiring  # not before: a figure without labels is made as its module is imported

    try:
        wiring.policy_of(settings)
        asyncio.run(wiring.check_database(settings))  # on a loop without threads: they would not survive a fork
        listener = app.listen(host, port)

        def web(lifeline: int, ready: Callable[[], None]) -> int:
            serving = app.serve(settings, listener, with_worker=False, on_ready=lambda _: ready(), lifeline=lifeline)
            return _status_of(serving)

        def worker(lifeline: int, ready: Callable[[], None]) -> int:
            return _status_of(app.work(settings, ready, lifeline=lifeline))

        parts = [Part(f"web {number + 1}", web) for number in range(webs)]
        parts += [Part("worker", worker)] if with_worker else []
        processes = Processes(parts, settings.shutdown_seconds + BESIDE_REQUESTS_SECONDS)
        return processes.run(lambda: click.echo(f"ready {app.address_of(listener)}"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _status_of(work: Coroutine[Any, Any, None]) -> int:
    try:
        with explained_errors():
            run(work)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
