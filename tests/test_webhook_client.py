"""The line to receivers, over real sockets: pinned, bounded in time and size, deaf to what an answer says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from returns_service import webhook_client
from returns_service.domain.public_addresses import NotAllowed
from returns_service.domain.webhook_signature import Attempt
from returns_service.webhook_client import Resolver, WebhookClient

HEADERS = {"webhook-id": "evt_1"}
Play = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Host:
    """A receiver that plays a part; `heads` are the requests it got."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def playing(play: Play | bytes) -> AsyncIterator[Host]:
    host = Host()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            host.heads.append(head)
            length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length"))
            host.bodies.append(await reader.readexactly(int(length.partition(":")[2])))
            if isinstance(play, bytes):
                writer.write(play)
                await writer.drain()
            else:
                await play(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()


def to(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    """Return a name server that knows one answer."""

    async def resolve(_: str, __: int) -> list[str]:
        return list(addresses)

    return resolve


@asynccontextmanager
async def a_line(*addresses: str) -> AsyncIterator[WebhookClient]:
    line = WebhookClient(allow_private=True, resolve=to(*(addresses or ("127.0.0.1",))))
    yield line
    await line.close()


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def drip(writer: asyncio.StreamWriter) -> None:
    """Answer 200 and a body that never ends, a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Answer 200 and a body that never ends, as fast as it can."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def slow_head(writer: asyncio.StreamWriter) -> None:
    """Send the head of an answer a byte at a time: no single wait is long."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Long: 1\r\n" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "play, status, word",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, "redirects"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, "500"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", 200, None),
        (b"SSH-2.0-OpenSSH_9.6\r\n", None, "no HTTP answer"),
        (b"\x16\x03\x01\x02\x00\x01", None, "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Much: " + b"x" * 200_000 + b"\r\n\r\n", None, "no HTTP answer"),
        (b"", None, "no HTTP answer"),
        (hang, None, "seconds"),
        (slow_head, None, "seconds"),
        (drip, 200, None),
        (flood, 200, None),
    ],
)
async def test_whatever_a_receiver_does_is_an_attempt_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch, play: Play | bytes, status: int | None, word: str | None
) -> None:
    monkeypatch.setattr(webhook_client, "CALL_SECONDS", 1.0 if word == "seconds" else 30.0)
    monkeypatch.setattr(webhook_client, "DRAIN_SECONDS", 0.3)
    async with playing(play) as host, a_line() as line, asyncio.timeout(60):
        attempt = await line.post(f"http://shop.test:{host.port}/hook?a=b", HEADERS, b'{"a": 1}')
    assert attempt.status == status
    assert (attempt.error is None) if word is None else (word in str(attempt.error))
    assert host.bodies == [b'{"a": 1}']
    assert host.heads[0].startswith("POST /hook?a=b HTTP/1.1\r\n")
    assert f"Host: shop.test:{host.port}\r\n" in host.heads[0]
    assert "webhook-id: evt_1\r\n" in host.heads[0]


async def test_nobody_listening_is_no_connection_and_the_next_address_is_tried() -> None:
    async with playing(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as host:
        async with a_line("127.0.0.2") as line:
            assert await line.post(f"http://shop.test:{host.port}/", HEADERS, b"") == Attempt(None, "No connection.")
        async with a_line("127.0.0.2", "127.0.0.1") as line:
            assert await line.post(f"http://shop.test:{host.port}/", HEADERS, b"") == Attempt(200, None)
    assert len(host.heads) == 1


async def test_plain_words_where_https_is_asked_are_a_failure_of_tls() -> None:
    async with a_line() as line:
        server = await asyncio.start_server(lambda _, writer: writer.write(b"HTTP/1.1 200 OK\r\n\r\n"), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        attempt = await line.post(f"https://shop.test:{port}/", HEADERS, b"")
        server.close()
    assert attempt.status is None
    assert "TLS" in str(attempt.error)


async def test_neither_proxy_nor_cookie_nor_second_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    said = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with playing(said) as host, a_line() as line:
        for _ in range(2):
            assert (await line.post(f"http://shop.test:{host.port}/", HEADERS, b"")).arrived
    assert len(host.heads) == 2
    assert "cookie" not in "".join(host.heads).lower()


@dataclass
class Seen(httpx.AsyncBaseTransport):
    """The way out, which only keeps what would have been sent."""

    requests: list[httpx.Request] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, content=b"", request=request)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111"])
async def test_the_checked_address_is_called_under_the_hosts_name(address: str) -> None:
    seen = Seen()
    line = WebhookClient(resolve=to(address), transport=seen)
    await line.check("https://shop.test/hook")
    assert (await line.post("https://shop.test/hook", HEADERS, b"{}")).arrived
    (request,) = seen.requests
    assert (request.url.host, request.url.port) == (address, None)
    assert request.headers["host"] == "shop.test"
    assert request.extensions["sni_hostname"] == "shop.test"  # what TLS checks the certificate against


async def test_a_name_that_changes_its_mind_is_not_followed_inside() -> None:
    answers = [["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], []]
    seen = Seen()

    async def rebinding(_: str, __: int) -> list[str]:
        return answers.pop(0)

    line = WebhookClient(resolve=rebinding, transport=seen)
    await line.check("https://shop.test/hook")
    for _ in range(3):
        assert not (await line.post("https://shop.test/hook", HEADERS, b"{}")).arrived
    assert seen.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_no_way_of_writing_loopback_gets_through_the_systems_own_resolver(host: str) -> None:
    seen = Seen()
    line = WebhookClient(transport=seen)
    with pytest.raises(NotAllowed):
        await line.check(f"https://{host}/")
    assert not (await line.post(f"https://{host}/", HEADERS, b"{}")).arrived
    assert seen.requests == []


async def test_a_name_server_that_hangs_holds_up_its_own_hosts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), []
    look_up: Any = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        if host == "hangs.test":
            go.wait(60)
            raise socket.gaierror("timed out")
        return look_up("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = Resolver()
    waiting = [asyncio.create_task(resolver("hangs.test", 443)) for _ in range(20)]
    async with asyncio.timeout(30):
        assert await resolver("good.test", 443) == ["127.0.0.1"]
    waiting[0].cancel()  # whoever gave up takes nothing from the others
    go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, socket.gaierror) for result in results[1:])
    assert sorted(asked) == ["good.test", "hangs.test"]
    with pytest.raises(socket.gaierror):
        await resolver("hangs.test", 443)
    assert asked.count("hangs.test") == 2
