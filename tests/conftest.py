"""What all tests share: fresh migrated databases of both kinds, and an environment without the machine's settings.

One PostgreSQL server runs for the whole session, whatever the number of xdist's workers; it starts when the first
test asks for it. A test's database is a copy of one that was migrated once.
"""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.harness.postgres import MISSING, Postgres, fast_folder, find_binaries

ROOT = "TEST_SERVERS_ROOT"  # tells the workers where the session's folder is
FOLDER = "returns-tests"

# A busy machine is no reason to fail. Under CI Hypothesis loads its own profile, which draws the same each time.
hypothesis.settings.register_profile("desk", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
if not os.environ.get("CI"):
    hypothesis.settings.load_profile("desk")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how long the world test is to soak, and what the tests of processes draw from."""
    parser.addoption("--lives", type=int, default=2000, help="lives that `-m soak` plays (2000)")
    parser.addoption("--seed", type=int, default=1, help="the seed of the first of them (1)")
    parser.addoption("--kill-seed", type=int, help="the seed of which process is killed when (a new one each time)")


def pytest_configure(config: pytest.Config) -> None:
    """Make the session's folder, and take from the environment what could lead a test to real data or money."""
    for name in list(os.environ):
        if name.upper().startswith(("RETURNS_", "STRIPE_")) or name.upper() == "DATABASE_URL":
            del os.environ[name]
    # Tests start hundreds of processes: one compiles our code, and the others read what it wrote.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not _is_worker(config):
        _remove_orphans()
        root = Path(tempfile.mkdtemp(prefix=f"{FOLDER}-{os.getpid()}-", dir=fast_folder()))
        root.chmod(0o711)  # where we are root, PostgreSQL is somebody else and has to get through
        os.environ[ROOT] = str(root)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that no core waits for the last of them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Let the collector forget what is there before the first test, and come seldom: it took a sixth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the session's servers and remove its folder."""
    if not _is_worker(config) and ROOT in os.environ:
        _remove(Path(os.environ.pop(ROOT)))


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _remove(root: Path) -> None:
    for server in root.glob("postgres*"):
        Postgres(server).destroy()
    shutil.rmtree(root, ignore_errors=True)


def _remove_orphans() -> None:
    """Remove what a session left that was killed, servers included."""
    for parent in {fast_folder(), Path("/tmp")}:  # noqa: S108
        for root in parent.glob(f"{FOLDER}-*-*"):
            if root.is_symlink() or root.stat().st_uid != os.geteuid():
                continue
            try:
                os.kill(int(root.name.split("-")[2]), 0)
            except ProcessLookupError:
                _remove(root)
            except (PermissionError, ValueError):
                pass


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop of async tests."""
    return "asyncio"


@pytest.fixture(autouse=True)
def same_log() -> Iterator[None]:
    """Undo what a command that a test runs in its own process has set up for its log."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def session_root() -> Path:
    """The folder that all workers of this session share."""
    return Path(os.environ[ROOT])


def _once(root: Path, name: str, make: Callable[[], None]) -> None:
    """Call `make` in the first worker that comes here, while the others wait."""
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = root / f"{name}.made"
        if not made.exists():
            make()
            made.touch()


def _migrate(url: str) -> None:
    from returns_service.store import schema

    schema.migrate(url)


def _require_postgres() -> None:
    if find_binaries() is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)


@pytest.fixture(scope="session")
def pg(session_root: Path) -> Postgres:
    """The session's PostgreSQL, with a migrated template. Shared: a test that kills one takes `own_pg`."""
    _require_postgres()
    server = Postgres(session_root / "postgres")

    def create() -> None:
        server.create()
        server.create_template(_migrate)

    _once(session_root, "postgres", create)
    return server


@pytest.fixture
def own_pg(session_root: Path) -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, with a migrated template: it may be killed and started again."""
    _require_postgres()
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=session_root))
    server = Postgres(folder)
    server.create()
    server.create_template(_migrate)
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def sqlite_template(session_root: Path) -> Path:
    """A migrated SQLite file, to be copied."""
    template = session_root / "template.db"
    _once(session_root, "sqlite", lambda: _migrate(f"sqlite:///{template}"))
    return template


@pytest.fixture
def sqlite_url(sqlite_template: Path) -> Iterator[str]:
    """The address of a fresh migrated SQLite file."""
    with fresh_sqlite(sqlite_template) as url:
        yield url


@contextmanager
def fresh_sqlite(template: Path) -> Iterator[str]:
    """Copy the migrated template; the copy goes with the context."""
    folder = Path(tempfile.mkdtemp(prefix="sqlite-", dir=template.parent))
    shutil.copyfile(template, folder / "returns.db")
    yield f"sqlite:///{folder / 'returns.db'}"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(pg: Postgres) -> Iterator[str]:
    """The address of a fresh migrated PostgreSQL database."""
    with pg.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh migrated database; the test runs on both kinds."""
    return str(request.getfixturevalue(f"{request.param}_url"))
