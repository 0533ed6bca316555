"""A10: a read that gets no answer is repeated twice within the call's time; a write never is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot, TryLater, Unknown
from returns_service.stripe_gateway import StripeGateway, client
from returns_service.stripe_simulator import server
from tests.gateway.shapes import KEY, PARAMETERS, Line, error, intent, listing, ok, refund

CUT = httpx.RemoteProtocolError("Server disconnected without sending a response.")
CLOSED = httpx.ConnectError("refused")


def in_turn(*answers: Any) -> Any:
    """Answer each request with the next of these."""
    left: Iterator[Any] = iter(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        following = next(left)
        if isinstance(following, Exception):
            raise following
        assert isinstance(following, httpx.Response)
        return following

    return answer


@pytest.mark.parametrize("trouble", [CUT, CLOSED, httpx.ReadError("reset"), error(500), httpx.Response(503)])
async def test_a_read_is_asked_three_times(trouble: Any) -> None:
    line = Line(in_turn(trouble, trouble, ok(refund())))
    assert isinstance(await line.gateway.retrieve_refund("re_1"), RefundSnapshot)
    assert len(line.requests) == 3


@pytest.mark.parametrize("trouble,code", [(CUT, "no_answer"), (CLOSED, "no_connection"), (error(500), "http_500")])
async def test_after_the_third_silence_it_is_said(trouble: Any, code: str) -> None:
    line = Line(in_turn(trouble, trouble, trouble))
    seen = await line.gateway.retrieve_refund("re_1")
    assert isinstance(seen, Unknown | TryLater)
    assert (seen.code, len(line.requests)) == (code, 3)


async def test_the_last_silence_is_told_as_it_was() -> None:
    line = Line(in_turn(error(500), CUT, CUT))
    seen = await line.gateway.retrieve_refund("re_1")
    assert seen == Unknown("no_answer", "The line was cut: RemoteProtocolError")


@pytest.mark.parametrize(
    "answer",
    [error(429, code="rate_limit"), error(401), error(404), error(503, {"Retry-After": "30"}), httpx.ReadTimeout("")],
)
async def test_what_a_second_cant_mend_is_asked_once(answer: Any) -> None:
    line = Line(in_turn(answer))
    assert not isinstance(await line.gateway.retrieve_refund("re_1"), RefundSnapshot)
    assert len(line.requests) == 1


async def test_every_call_of_a_payments_read_is_repeated() -> None:
    line = Line(in_turn(CUT, ok(intent()), CUT, CUT, ok(listing(refund()))))
    assert isinstance(await line.gateway.read_payment(payment_intent="pi_1"), PaymentSnapshot)


async def test_a_write_is_never_repeated() -> None:
    line = Line(in_turn(CUT))
    assert isinstance(await line.gateway.create_refund(PARAMETERS, key="k", not_after=None), Unknown)
    assert len(line.requests) == 1


async def test_no_attempt_begins_after_the_calls_time() -> None:
    clock = iter([0.0, 0.0, 19.95, 99.0])  # the begin, the first attempt, and what is left after it
    line = Line(in_turn(CUT), monotonic=lambda: next(clock), jitter=lambda: 1.0)
    assert isinstance(await line.gateway.retrieve_refund("re_1"), Unknown)
    assert len(line.requests) == 1


async def test_a_404_without_a_code_is_a_missing_payment() -> None:
    """A10: it is no outage."""
    seen = await Line(error(404)).gateway.read_payment(payment_intent="pi_1")
    assert isinstance(seen, Missing)


async def test_a_connection_that_the_server_gives_up_costs_no_answer() -> None:
    """A10, its cause: a request left on an idle connection in the moment in which the server closed it."""
    said = json.dumps(refund()).encode()
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        await reader.readuntil(b"\r\n\r\n")  # the second request came; the close is on its way already
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    gateway = StripeGateway(KEY, api_base=address, jitter=lambda: 0.0)
    seen = [await gateway.retrieve_refund("re_1") for _ in range(3)]
    await gateway.close()
    listener.close()
    assert all(isinstance(one, RefundSnapshot) for one in seen)
    assert connections == 3


def test_the_sender_gives_an_idle_connection_up_first() -> None:
    """A10: uvicorn and Node close after 5 s, where httpx would still use it; the simulator waits longer than anyone."""
    assert client.IDLE_SECONDS < uvicorn.Config("app").timeout_keep_alive < server.IDLE_SECONDS
