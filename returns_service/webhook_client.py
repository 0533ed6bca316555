"""The only way out to a host that a caller named: resolved, every address checked, and the checked one connected to.

Why the address is pinned: a name that is checked and then resolved again may lead elsewhere the second time (DNS
rebinding). Each call has a connection of its own; TLS is checked against the name, not the address. Nothing of an
answer but its status goes anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from returns_service.domain.public_addresses import NotAllowed, Target, require_public, target_of
from returns_service.domain.webhook_signature import Attempt

CALL_SECONDS = 10.0  # name, connection, TLS, body and status together
CONNECT_SECONDS = 4.0  # so that a second address gets its turn
CHECK_SECONDS = 5.0  # a person waits for it
DRAIN_SECONDS, DRAIN_BYTES = 1.0, 4096  # the rest of an answer, so that the receiver isn't cut off while it writes
MOST_ADDRESSES = 3  # tried one after the other while none connects
Resolve = Callable[[str, int], Awaitable[list[str]]]


class Resolver:
    """Asks the system for a host's addresses; those who ask for one host at once share the answer.

    Each question has a thread of its own that nobody waits for at the end: a name server that hangs holds up neither
    other hosts nor a stop.
    """

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses. Raises OSError where there are none."""
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[host, port] = asyncio.get_running_loop().create_future()
            asked.add_done_callback(lambda _: self._asked.pop((host, port)))
            asked.add_done_callback(asyncio.Future.exception)  # the caller may have gone
            threading.Thread(target=_look_up, args=(host, port, asked), daemon=True, name="resolve").start()
        return await asyncio.shield(asked)


def _look_up(host: str, port: int, asked: asyncio.Future[list[str]]) -> None:
    found: list[str] = []
    failure: OSError | None = None
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        failure = error if isinstance(error, OSError) else OSError(str(error))

    def tell() -> None:
        if failure is not None:
            asked.set_exception(failure)
        else:
            asked.set_result(list(dict.fromkeys(found)))

    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody listens
        asked.get_loop().call_soon_threadsafe(tell)


class WebhookClient:
    """Calls receivers. `allow_private`: also over plain http and in private networks, for development."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.allow_private = allow_private
        self._resolve: Resolve = resolve or Resolver()
        self._transport = transport

    async def check(self, url: str) -> None:
        """Raise NotAllowed unless the URL may be called, as far as can be said now."""
        target = target_of(url, allow_private=self.allow_private)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._addresses(target)
        except TimeoutError:
            raise NotAllowed(f"The name server doesn't say where {target.host} is.") from None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Post the body, and return what became of it; nothing is raised for what a receiver may do."""
        end = asyncio.get_running_loop().time() + CALL_SECONDS
        try:
            async with asyncio.timeout_at(end):
                target = target_of(url, allow_private=self.allow_private)
                answer = await self._post(target, await self._addresses(target), headers, body)
        except NotAllowed as refused:
            return Attempt(None, str(refused))
        except (TimeoutError, httpx.TimeoutException):
            return Attempt(None, f"No answer within {CALL_SECONDS:g} seconds.")
        except httpx.ConnectError as error:
            why = "TLS failed: check the certificate" if "SSL" in str(error) else "No connection"
            return Attempt(None, f"{why}.")
        except httpx.ProtocolError:
            return Attempt(None, "What came back is no HTTP answer.")
        except (httpx.TransportError, OSError):
            return Attempt(None, "The connection was cut.")
        await _drain(answer, end)
        return verdict(answer.status_code)

    async def _addresses(self, target: Target) -> list[str]:
        try:
            found = await self._resolve(target.host, target.port)
        except TimeoutError:
            raise
        except OSError:
            found = []
        if self.allow_private and found:
            return found
        require_public(target.host, found)
        return found

    async def _post(
        self, target: Target, addresses: Sequence[str], headers: Mapping[str, str], body: bytes
    ) -> httpx.Response:
        limit = httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS).as_dict()
        tried = addresses[:MOST_ADDRESSES]
        for address in tried:
            request = httpx.Request(
                "POST",
                httpx.URL(scheme=target.scheme, host=address, port=target.port, raw_path=target.path.encode()),
                headers={"Host": target.host_header, "Connection": "close", **headers},
                content=body,
                extensions={"timeout": limit, "sni_hostname": target.host},
            )
            try:
                return await self._way().handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == tried[-1]:
                    raise
        raise NotAllowed(f"The host {target.host} has no address.")

    def _way(self) -> httpx.AsyncBaseTransport:
        """Return the transport, made when first needed; below httpx's client, so no redirects, cookies or proxies."""
        if self._transport is None:
            alone = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._transport = httpx.AsyncHTTPTransport(verify=httpx.create_ssl_context(), limits=alone)
        return self._transport

    async def close(self) -> None:
        """Close what is open."""
        if self._transport is not None:
            await self._transport.aclose()


def verdict(status: int) -> Attempt:
    """Return what a status means to us."""
    if 200 <= status < 300:
        return Attempt(status, None)
    if 300 <= status < 400:
        return Attempt(status, f"It answered {status}: redirects are not followed.")
    return Attempt(status, f"It answered {status}.")


async def _drain(answer: httpx.Response, end: float) -> None:
    """Read a little of the answer and throw it away: its status has decided, whatever happens from here on."""
    read = 0
    soon = min(end, asyncio.get_running_loop().time() + DRAIN_SECONDS)
    with contextlib.suppress(httpx.HTTPError, TimeoutError, OSError):
        async with asyncio.timeout_at(soon):
            async for part in answer.stream:  # type: ignore[union-attr]
                read += len(part)
                if read >= DRAIN_BYTES:
                    break
    with contextlib.suppress(httpx.HTTPError, OSError):
        await answer.aclose()
