"""A webhook endpoint on a free port that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE_SECONDS = 5.0


@dataclass
class Receiver:
    """What arrived: bodies and `Stripe-Signature` headers, in their order. `answers`: the next statuses; then 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that arrived."""
        return [json.loads(body) for body in self.bodies]

    @property
    def types(self) -> list[str]:
        """Their types."""
        return [event["type"] for event in self.events]

    async def until(self, count: int) -> None:
        """Wait until `count` deliveries have arrived."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.bodies) < count:
                await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                lines = [line.partition(":") for line in head.split("\r\n")[1:] if line]
                headers = {name.lower(): value.strip() for name, _, value in lines}
                self.bodies.append(await reader.readexactly(int(headers["content-length"])))
                self.signatures.append(headers["stripe-signature"])
                status = self.answers.pop(0) if self.answers else 200
                writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(*answers: int) -> AsyncIterator[Receiver]:
    """Run a receiver that answers `answers` first."""
    receiver = Receiver(answers=list(answers))
    server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
