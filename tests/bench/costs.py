"""What work costs: CPU time of every process that takes part, and the statements that the database is sent."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.harness.postgres import Postgres

CPUCLOCK_SCHED = 2  # Linux's encoding of a process's CPU clock: ~pid << 3 | 2 (clock_getcpuclockid(3))
CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
SETTLE_SECONDS = 0.3  # until all backends have read a changed setting


def cpu_ms(pid: int) -> float:
    """Return the CPU time that a process has taken since it began, all its threads together. Raises OSError."""
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED) * 1000


def resident_mb(pid: int) -> float:
    """Return the memory that a process has resident, in megabytes."""
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), flags=re.MULTILINE)
    return int(kilobytes) / 1024


@dataclass(frozen=True)
class Meter:
    """Reads the CPU time of processes by their part, and of the PostgreSQL backends that serve one database."""

    processes: Mapping[str, int]  # part -> pid
    server: Postgres | None = None
    database: str = ""
    left_out: frozenset[int] = frozenset()  # backends of nobody who is measured

    def read(self) -> dict[tuple[str, int], float]:
        """Return the CPU ms taken so far, by part and pid."""
        found = {(part, pid): cpu_ms(pid) for part, pid in self.processes.items()}
        for pid in self._backends():
            try:
                found["postgresql", pid] = cpu_ms(pid)
            except OSError:  # it has just ended
                continue
        return found

    def _backends(self) -> list[int]:
        """Return the server's processes, but for those that serve another database."""
        if self.server is None:
            return []
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                title = (folder / "cmdline").read_text().replace("\0", " ")
            except (OSError, ValueError):
                continue
            if int(folder.name) in self.left_out or parent != self.server.pid:
                continue
            if "[local]" not in title or f" {self.database} " in title:
                found.append(int(folder.name))
        return found

    async def measure(self, work: Callable[[], Awaitable[object]], units: int) -> dict[str, float]:
        """Return the CPU ms a unit that `work` takes, by part."""
        before = self.read()
        await work()
        after = self.read()
        parts: Counter[str] = Counter()
        for (part, pid), spent in after.items():
            parts[part] += (spent - before.get((part, pid), 0.0)) / units  # type: ignore[assignment]  # a sum of floats
        return dict(parts)


async def count_statements(
    server: Postgres, database: str, work: Callable[[], Awaitable[object]], units: int
) -> dict[str, float]:
    """Return what `work` sends to a PostgreSQL database a unit: statements, and explicit transactions and commits."""
    _set(server, "log_line_prefix = '%d '", "log_statement = 'all'")
    await asyncio.sleep(SETTLE_SECONDS)
    start = server.log.stat().st_size
    try:
        await work()
    finally:
        _set(server, "log_statement = 'none'")
        await asyncio.sleep(SETTLE_SECONDS)
    with server.log.open("rb") as log:
        log.seek(start)
        written = log.read().decode(errors="replace")
    sent = re.findall(rf"^{database} LOG:  (?:execute [^:]*|statement):\s*(\w+)", written, flags=re.MULTILINE)
    words = Counter(word.upper() for word in sent)
    statements = sum(words.values()) - sum(words[word] for word in CONTROL)
    counts = {"statements": statements, "transactions": words["BEGIN"], "commits": words["COMMIT"]}
    return {name: number / units for name, number in counts.items()}


def _set(server: Postgres, *settings: str) -> None:
    for setting in settings:
        server.sql(f"ALTER SYSTEM SET {setting}")
    server.sql("SELECT pg_reload_conf()")
