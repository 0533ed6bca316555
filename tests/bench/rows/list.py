"""Listing 20 returns, against bare Litestar with the one SELECT that is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.requests import Both, Call, MakeCall, measure_requests
from tests.bench.result import Row

AIM = 0.12


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare lists."""
    return await measure_requests("list", AIM, (60, 400), rounds, on_round, _calls)


async def _calls(both: Both) -> tuple[MakeCall, MakeCall]:
    ours = Call("GET", "/v1/returns?limit=20", dict(both.service.headers))
    theirs = Call("GET", "/v1/returns", {})
    return (lambda target, number: ours), (lambda target, number: theirs)
