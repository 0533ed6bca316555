"""Lets time act on a ledger and carries its mail to the webhook endpoints."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import httpx

from .exchange import signature_of, strike_mail
from .faults import Faults
from .ledger import Endpoint, Ledger, Outgoing

TIMEOUT_SECONDS = 10.0  # Stripe does not publish how long it waits for an endpoint
AT_ONCE = 16  # deliveries on their way at the same time
LONGEST_SLEEP_SECONDS = 0.5  # settings may change while nothing is due
SHORTEST_SLEEP_SECONDS = 0.002  # many calls at once make one round


class Courier:
    """A task that makes due moves and delivers due webhooks, several at once, until it is cancelled."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self.ledger = ledger
        self.faults = faults
        self._news = asyncio.Event()
        self._under_way: dict[Outgoing, asyncio.Task[None]] = {}
        self._slots: Final = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        """Say that there may be something to do."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled; deliveries under way are cut then, as by a crash."""
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False) as client:
            try:
                while True:
                    self._news.clear()
                    self.ledger.make_due_moves()
                    self.ledger.drop_unaddressed()
                    for mail in self.ledger.due_mail():
                        if mail.endpoint is not None and mail not in self._under_way:
                            self._send_off(client, mail, mail.endpoint)
                    await self._sleep()
            finally:
                for task in self._under_way.values():
                    task.cancel()

    def _send_off(self, client: httpx.AsyncClient, mail: Outgoing, endpoint: Endpoint) -> None:
        times = strike_mail(self.ledger, self.faults, mail)
        if times == 0:
            return
        task = asyncio.create_task(self._deliver(client, mail, endpoint, times))
        self._under_way[mail] = task

        def done(_: asyncio.Task[None]) -> None:
            del self._under_way[mail]
            self.wake()

        task.add_done_callback(done)

    async def _deliver(self, client: httpx.AsyncClient, mail: Outgoing, endpoint: Endpoint, times: int) -> None:
        async with self._slots:
            arrived = [await self._post(client, mail, endpoint) for _ in range(times)]
        if all(arrived):
            self.ledger.delivered(mail)
        else:
            self.ledger.not_delivered(mail)

    async def _post(self, client: httpx.AsyncClient, mail: Outgoing, endpoint: Endpoint) -> bool:
        body = self.ledger.body_of(mail)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature_of(body, endpoint.secret, self.ledger.now()),
        }
        try:
            answer = await client.post(str(endpoint.row["url"]), content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        return answer.is_success

    async def _sleep(self) -> None:
        """Wait for news, or for what is due next."""
        await asyncio.sleep(SHORTEST_SLEEP_SECONDS)
        now = self.ledger.now()
        idle = (mail for mail in self.ledger.mailbox if mail.endpoint is not None and mail not in self._under_way)
        waiting = [mail.next_attempt_at for mail in idle]
        next_move = self.ledger.next_move_at()
        due = min([*waiting, *([] if next_move is None else [next_move]), now + LONGEST_SLEEP_SECONDS])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), max(due - now, 0))
