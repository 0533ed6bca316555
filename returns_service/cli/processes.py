"""Several processes for one command, each started again should it end: all cores of a machine for one `serve`.

They are forked from one that does nothing else: they share what is imported and listen on one socket. A process that
was killed is back within a second, and the others take the connections that it had not taken yet.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import structlog

LOOK_SECONDS = 0.1
PAUSE_SECONDS = 1.0  # from one start of a process to its next
log = structlog.get_logger("returns.processes")


@dataclass
class Part:
    """One process. `work` gets a file that ends with the parent and what to call once ready; it returns a status."""

    name: str
    work: Callable[[int, Callable[[], None]], int]
    pid: int = 0  # 0: it does not run
    started_at: float = 0.0  # seconds, monotonic


class Processes:
    """The processes of one command, from its start until a signal ends it."""

    def __init__(self, parts: Sequence[Part], grace_seconds: float) -> None:
        self._parts, self._grace_seconds = parts, grace_seconds
        self._signals = 0
        self._ready = 0
        self._lifeline, self._life = os.pipe()  # nobody writes: reading it ends when the parent has ended
        self._news, self._tell = os.pipe()
        os.set_blocking(self._news, False)

    def run(self, on_ready: Callable[[], None]) -> int:
        """Run all parts until SIGTERM or SIGINT; return the exit status, 1 where a part ended before all were ready.

        A second signal ends them at once; what still runs `grace_seconds` after the first is killed.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        for part in self._parts:
            self._start(part)
        started = False
        while not self._signals:
            if self._hear() and not started and self._ready >= len(self._parts):
                started = True
                on_ready()
            self._reap()
            if not started and any(part.pid == 0 for part in self._parts):
                self._stop()
                return 1
            for part in self._parts:
                if part.pid == 0 and time.monotonic() - part.started_at > PAUSE_SECONDS:
                    self._start(part)
            time.sleep(LOOK_SECONDS)
        self._stop()
        return 0

    def _note_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _hear(self) -> bool:
        """Count the parts that say they are ready; return whether any did."""
        try:
            self._ready += len(os.read(self._news, 1024))
        except BlockingIOError:
            return False
        return True

    def _start(self, part: Part) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        part.started_at = time.monotonic()
        part.pid = os.fork()
        if part.pid == 0:
            self._be(part)

    def _be(self, part: Part) -> NoReturn:
        """Be the process of a part, in a session of its own: Ctrl-C is for the parent, which passes it on."""
        status = 1
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._life)
            os.close(self._news)
            status = part.work(self._lifeline, self._say_ready)
        except Exception:
            log.exception("process.failed", part=part.name)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _say_ready(self) -> None:
        os.write(self._tell, b".")

    def _reap(self) -> None:
        for part in self._parts:
            pid, status = os.waitpid(part.pid, os.WNOHANG) if part.pid else (0, 0)
            if pid:
                part.pid = 0
                if not self._signals:
                    log.warning("process.ended", part=part.name, status=os.waitstatus_to_exitcode(status))

    def _stop(self) -> None:
        """Let all parts end, and wait for it."""
        end, passed_on = time.monotonic() + self._grace_seconds, 0
        while any(part.pid for part in self._parts):
            if passed_on < max(1, self._signals):
                passed_on += 1
                self._signal(signal.SIGTERM)
            if time.monotonic() > end:
                self._signal(signal.SIGKILL)
            self._reap()
            time.sleep(LOOK_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        for part in self._parts:
            if part.pid:
                os.kill(part.pid, number)
