"""The gateway over real sockets: what a refused, a cut and a silent line look like, and a whole one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from returns_service.domain.stripe_objects import RefundSnapshot, TryLater, Unknown
from returns_service.stripe_gateway import StripeGateway
from tests.gateway.shapes import KEY, PARAMETERS, refund

Writer = asyncio.StreamWriter


@asynccontextmanager
async def listening(answer: Callable[[Writer], Awaitable[None]], **options: Any) -> AsyncIterator[StripeGateway]:
    """Read each request to its end, then do `answer` and hang up."""

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.decode().lower().split("\r\n") if line.startswith("content-length:"))
        await reader.readexactly(int(length.split(":")[1]))
        await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gateway = StripeGateway(KEY, api_base=f"http://127.0.0.1:{port}/", timeout_seconds=30, **options)
    yield gateway
    await gateway.close()
    server.close()


async def test_a_whole_answer_is_believed() -> None:
    async def yes(writer: Writer) -> None:
        said = json.dumps(refund()).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        await writer.drain()

    async with listening(yes) as gateway:
        assert isinstance(await gateway.create_refund(PARAMETERS, key="k", not_after=None), RefundSnapshot)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", b"\0\0\r\n\r\n"])
async def test_an_answer_cut_short_is_unknown(said: bytes) -> None:
    async def cut(writer: Writer) -> None:
        writer.write(said)
        await writer.drain()

    async with listening(cut) as gateway:
        seen = await gateway.create_refund(PARAMETERS, key="k", not_after=None)
    assert isinstance(seen, Unknown)
    assert seen.code == "no_answer"


async def test_drops_of_an_answer_dont_prolong_the_call() -> None:
    async def drip(writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        for _ in range(3000):
            writer.write(b" ")
            await asyncio.sleep(0.02)

    async with listening(drip) as gateway:
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen = await gateway.create_refund(PARAMETERS, key="k", not_after=loop.time() + 0.2)
        assert loop.time() - began < 20, "each drop was waited for anew"
    assert isinstance(seen, Unknown)
    assert seen.code == "timeout"


async def test_a_closed_door_means_nothing_was_sent() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    gateway = StripeGateway(KEY, api_base=f"http://127.0.0.1:{port}")
    seen = await gateway.create_refund(PARAMETERS, key="k", not_after=None)
    await gateway.close()
    assert isinstance(seen, TryLater)
    assert (seen.code, seen.everyone) == ("no_connection", True)


async def test_a3_a_wait_for_a_connection_of_our_own_is_no_failure_of_stripes() -> None:
    """A3: it opened the breaker, and all refunds waited."""
    asked, done = asyncio.Event(), asyncio.Event()

    async def wait(writer: Writer) -> None:
        asked.set()
        await done.wait()

    async with listening(wait, connections=1, wait_seconds=0.05) as gateway:
        first = asyncio.create_task(gateway.create_refund(PARAMETERS, key="k", not_after=None))
        await asked.wait()
        seen = await gateway.create_refund(PARAMETERS, key="l", not_after=None)
        done.set()
        await first
    assert isinstance(seen, TryLater), "nothing was sent"
    assert (seen.code, seen.everyone) == ("no_free_connection", False)
