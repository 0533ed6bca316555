"""`serve --webs`: several webs and a worker from one command, none of which is missed for long."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from tests.harness.backend import backend_of
from tests.harness.deployment import Deployment, answering, clean_environment, deployed, free_port
from tests.harness.patience import wait_for
from tests.harness.process import Process, run_to_end
from tests.harness.shop import KEY, SECRET

RETURNS = 4


def children_of(pid: int) -> set[int]:
    """Return the processes that a process has started and that still run."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(folder.name))
    return found


def pid_of(process: Process) -> int:
    """Return the process id of a running command."""
    assert process._running is not None
    assert process._running.pid is not None
    return process._running.pid


async def start_webs(deployment: Deployment, *flags: str) -> Process:
    """Start the simulator, and `serve` with two webs."""
    port = free_port()
    await deployment.start_simulator(webhook_port=port)
    return await deployment.start_web(port, "--webs", "2", *flags)


async def test_webs_and_worker_are_started_again_and_end_together(tmp_path: Path, postgresql_url: str) -> None:
    async with deployed(tmp_path, postgresql_url) as deployment:
        deployment.create_key()
        parent = await start_webs(deployment)
        await wait_for(lambda: printed(parent), "the line `ready`", until=lambda text: "ready http://" in text)
        first = children_of(pid_of(parent))
        assert len(first) == 3, "two webs, a worker"
        async with backend_of(deployment) as backend:
            ids = await backend.return_many(RETURNS)
            await backend.all_refunded(ids)
            for pid in first:
                os.kill(pid, signal.SIGKILL)

            async def living() -> set[int]:
                return children_of(pid_of(parent)) - first

            second = await wait_for(living, "others in their place", until=lambda seen: len(seen) == 3)
            await answering(f"{deployment.webs[0]}/readyz", parent)
            await backend.assert_exact([*ids, *await backend.return_many(RETURNS)])
        created = 'returns_http_requests_total{method="POST",route="/v1/returns",status="201"} '
        async with httpx.AsyncClient(base_url=deployment.webs[0]) as client:
            text = (await client.get("/metrics")).text
        assert f"{created}{2 * RETURNS}.0" in text, "what the killed ones had counted, too"
        assert parent.end(signal.SIGTERM) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in second), "nobody is left behind"


async def test_the_webs_end_with_their_parent(tmp_path: Path, postgresql_url: str) -> None:
    async with deployed(tmp_path, postgresql_url) as deployment:
        parent = await start_webs(deployment, "--no-worker")
        webs = children_of(pid_of(parent))
        assert len(webs) == 2
        parent.end(signal.SIGKILL)

        async def left() -> int:
            return sum(Path(f"/proc/{pid}").exists() for pid in webs)

        await wait_for(left, "the end of the webs", until=lambda number: number == 0)


async def test_one_process_serves_from_sqlite_and_says_why(tmp_path: Path) -> None:
    async with deployed(tmp_path, f"sqlite:///{tmp_path}/returns.db") as deployment:
        web = await deployment.start_web(free_port(), "--webs", "2")
        assert "--webs needs PostgreSQL" in web.printed()
        assert children_of(pid_of(web)) == set()
        assert web.end(signal.SIGTERM) == 0


def test_a_start_that_cant_succeed_ends_with_one_line(tmp_path: Path, postgresql_url: str) -> None:
    name = postgresql_url.replace("test_", "nothing_")
    environment = clean_environment(DATABASE_URL=name, STRIPE_SECRET_KEY=KEY, STRIPE_WEBHOOK_SECRET=SECRET)
    ended = run_to_end(["serve", "--webs", "2", "--port", "0"], environment, tmp_path)
    assert ended.code == 1
    assert "DATABASE_URL" in ended.err


async def printed(process: Process) -> str:
    """Return what a process has printed."""
    return process.printed()
