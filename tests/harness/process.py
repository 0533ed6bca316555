"""Commands of the service as processes of their own, forked from one that has already imported it.

Each is a process like any other, to signals and to the kernel; only the second or two that an import takes is spent
once a session instead of once a process.
"""

from __future__ import annotations

import importlib
import io
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.harness.patience import block_until

WORK_SECONDS = 5  # of CPU: more than what only waits takes in a minute
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    """
    aiosqlite asyncpg sqlalchemy.dialects.postgresql.asyncpg sqlalchemy.dialects.sqlite.aiosqlite uvicorn uvloop
    returns_service.app returns_service.cli returns_service.logs returns_service.store.schema
    returns_service.stripe_gateway returns_service.stripe_simulator returns_service.web.routes
    tests.harness.crashing_worker tests.harness.process
    """.split()
)


def run_command(
    program: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    errors: Path,
    text: str,
) -> None:
    """Be the process: call `main` of the module `program` as a terminal would, `text` being what is typed."""
    type_in(text)
    for number, path in ((1, log), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["returns-service", *words]
    importlib.import_module(program).main()


def type_in(text: str) -> None:
    """Let this process's stdin be `text`; multiprocessing had closed it."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    os.dup2(reader, 0)
    raw = io.FileIO(0, closefd=False)
    raw.name = "<stdin>"
    sys.stdin = io.TextIOWrapper(io.BufferedReader(raw))


def _cpu_seconds(pid: int) -> int:
    """Return the CPU seconds that a process has used; 0 where the system doesn't say, or it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) // os.sysconf("SC_CLK_TCK")


class Process:
    """A command of the service that can be started again after it was killed.

    `log` keeps what it prints; `errors`, where it is given, what it prints to stderr.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        folder: Path,
        errors: Path | None = None,
        text: str = "",
        program: str = "returns_service.cli",
    ) -> None:
        self.words, self.environment = list(words), dict(environment)
        self.log, self.errors = log, errors or log
        self._folder, self._program, self._text = folder, program, text
        self._running: ForkServerProcess | None = None

    def start(self) -> None:
        """Start it."""
        arguments = (self._program, self.words, self.environment, self._folder, self.log, self.errors, self._text)
        self._running = FORKS.Process(target=run_command, args=arguments, daemon=True)
        self._running.start()

    @property
    def exit_status(self) -> int | None:
        """None while it runs; `-signal.SIGKILL` if it was killed."""
        assert self._running is not None, "never started"
        return self._running.exitcode

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._running is not None, "never started"
        assert self._running.pid is not None
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._running is not None and self.exit_status is None

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit status."""
        if self.exit_status is None:
            os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; return the exit status. What it prints is progress, and so is work. Raises NoProgress."""

        def look() -> tuple[int | None, ...]:
            printed = [file.stat().st_size if file.exists() else 0 for file in (self.log, self.errors)]
            return self.exit_status, *printed, _cpu_seconds(self.pid) // WORK_SECONDS

        status = block_until(look, f"the end of {self.log.name}", until=lambda seen: seen[0] is not None)[0]
        assert status is not None
        return status

    def printed(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what it printed, which is JSON."""
        return json.loads(self.out)


def run_to_end(words: Sequence[str], environment: Mapping[str, str], folder: Path, text: str = "") -> Ended:
    """Run a command of the service to its end, with `text` typed. Raises NoProgress."""
    name = f"command-{uuid4().hex}"
    log, errors = folder / f"{name}.out", folder / f"{name}.err"
    process = Process(words, environment, log, folder=folder, errors=errors, text=text)
    process.start()
    code = process.wait()
    return Ended(code, log.read_text(), errors.read_text())
