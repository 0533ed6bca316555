"""Connections to PostgreSQL that notice when its machine is gone without a word, and that find the one in its place.

A machine that loses its power or its network closes nothing, and a worker would wait for its answer for ever. The
system's own probes end such a connection (https://man7.org/linux/man-pages/man7/tcp.7.html). A server that hangs on a
machine that lives is answered for by its system: only the driver's limit of time ends that wait.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

import asyncpg

CONNECT_SECONDS = 10.0  # to the only host
HOST_SECONDS = 3.0  # to one of several: the next may be the one that took its place
FAREWELL_SECONDS = 1.0  # a stop closes one connection after the other, and none of a server that hangs answers
IDLE_SECONDS, PROBE_SECONDS, PROBES = 15, 5, 3  # a silent connection is probed, and is over after half a minute
UNACKNOWLEDGED_MILLISECONDS = 30_000  # data that is not acknowledged for so long ends it, too
asyncpg_: Any = asyncpg  # typed in part only


class DatabaseSilent(ConnectionError):
    """PostgreSQL gave no answer for longer than it may take over a statement: the connection is given up."""


class Connection(asyncpg_.Connection):  # type: ignore[misc]
    """A connection that the system probes."""

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        probe_when_silent(transport)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's own signature
        """Close the connection. The server is told so, and has a second to answer."""
        with contextlib.suppress(TimeoutError):  # the driver has closed it then, too
            await super().close(timeout=min(timeout or FAREWELL_SECONDS, FAREWELL_SECONDS))


def probe_when_silent(transport: Any) -> None:
    """Let the system end a transport's TCP connection whose other end does not answer any more."""
    shown = transport.get_extra_info("socket")
    if shown.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # The loop's own shows a stand-in that can't be set; options belong to what both are a handle of.
    with socket.socket(fileno=os.dup(shown.fileno())) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", IDLE_SECONDS),
            ("TCP_KEEPINTVL", PROBE_SECONDS),
            ("TCP_KEEPCNT", PROBES),
            ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MILLISECONDS),
        ):
            if hasattr(socket, option):  # not every system has all of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def connect(**options: Any) -> Any:
    """Return a connection to the first host that takes us. Raises OSError, or what the driver raises.

    The driver itself has one time for all hosts, and a host that is gone without a word would use it up.
    """
    hosts, ports = options.get("host"), options.get("port")
    if not isinstance(hosts, list) or not isinstance(ports, list):
        return await _connect_to_one(CONNECT_SECONDS, options)
    failure: Exception = OSError("no host is named")
    for host, port in zip(hosts, ports, strict=True):
        try:
            return await _connect_to_one(HOST_SECONDS, {**options, "host": host, "port": port})
        except (OSError, asyncpg_.CannotConnectNowError, asyncpg_.PostgresConnectionError) as error:
            failure = error
    raise failure


async def _connect_to_one(seconds: float, options: dict[str, Any]) -> Any:
    try:
        return await asyncpg_.connect(**{"connection_class": Connection, **options, "timeout": seconds})
    except asyncpg_.InternalClientError as error:  # it is no primary, or no PostgreSQL
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
