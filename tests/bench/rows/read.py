"""Reading one return, against bare Litestar with the one SELECT that is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.requests import Both, Call, MakeCall, measure_requests
from tests.bench.result import Row

AIM = 0.15


async def measure(rounds: int, on_round: Callable[[], None]) -> Sequence[Row]:
    """Compare reads."""
    return await measure_requests("read", AIM, (200, 1000), rounds, on_round, _calls)


async def _calls(both: Both) -> tuple[MakeCall, MakeCall]:
    def ours(target: object, number: int) -> Call:
        names = both.service.returns
        return Call("GET", f"/v1/returns/{names[number % len(names)]}", dict(both.service.headers))

    def theirs(target: object, number: int) -> Call:
        names = both.bare_returns
        return Call("GET", f"/v1/returns/{names[number % len(names)]}", {})

    return ours, theirs
