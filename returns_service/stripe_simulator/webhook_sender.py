"""A task that lets time act on a ledger and posts its webhooks to the endpoints."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import httpx

from .faults import Faults
from .inject import draw_webhook_fault, signature_of
from .ledger import Endpoint, Ledger, OutgoingWebhook
from .loopback import is_loopback_url

TIMEOUT_SECONDS = 10.0  # Stripe does not publish how long it waits for an endpoint
MAX_CONCURRENT_POSTS = 16
LONGEST_SLEEP_SECONDS = 0.5  # settings may change while nothing is due
SHORTEST_SLEEP_SECONDS = 0.002  # many calls at once make one round


class WebhookSender:
    """Makes due moves and posts due webhooks, several at once, until it is cancelled."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self.ledger = ledger
        self.faults = faults
        self._news = asyncio.Event()
        self._tasks: dict[OutgoingWebhook, asyncio.Task[None]] = {}
        self._slots: Final = asyncio.Semaphore(MAX_CONCURRENT_POSTS)

    def wake(self) -> None:
        """End the present sleep: something may be due."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled; that cuts the posts under way, as a crash would."""
        limits = httpx.Limits(max_connections=MAX_CONCURRENT_POSTS, max_keepalive_connections=MAX_CONCURRENT_POSTS)
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False) as client:
            try:
                while True:
                    self._news.clear()
                    self.ledger.make_due_moves()
                    self.ledger.drop_unaddressed()
                    for webhook in self.ledger.due_webhooks():
                        if webhook.endpoint is not None and webhook not in self._tasks:
                            self._start(client, webhook, webhook.endpoint)
                    await self._sleep()
            finally:
                for task in self._tasks.values():
                    task.cancel()

    def _start(self, client: httpx.AsyncClient, webhook: OutgoingWebhook, endpoint: Endpoint) -> None:
        if not (endpoint.is_trusted or self.ledger.settings.foreign_webhooks or is_loopback_url(endpoint.row["url"])):
            self.ledger.lose(webhook)  # else anyone with an API key could make this machine call its neighbours
            return
        times = draw_webhook_fault(self.ledger, self.faults, webhook)
        if times == 0:
            return
        task = asyncio.create_task(self._deliver(client, webhook, endpoint, times))
        self._tasks[webhook] = task

        def end(_: asyncio.Task[None]) -> None:
            del self._tasks[webhook]
            self.wake()

        task.add_done_callback(end)

    async def _deliver(
        self, client: httpx.AsyncClient, webhook: OutgoingWebhook, endpoint: Endpoint, times: int
    ) -> None:
        async with self._slots:
            results = [await self._post(client, webhook, endpoint) for _ in range(times)]
        if all(results):
            self.ledger.mark_delivered(webhook)
        else:
            self.ledger.mark_failed(webhook)

    async def _post(self, client: httpx.AsyncClient, webhook: OutgoingWebhook, endpoint: Endpoint) -> bool:
        """Post the webhook once; return whether the endpoint answered 2xx."""
        body = self.ledger.body_of(webhook)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature_of(body, endpoint.secret, self.ledger.now()),
        }
        try:
            response = await client.post(str(endpoint.row["url"]), content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        return response.is_success

    async def _sleep(self) -> None:
        """Sleep until `wake`, or until the next move or webhook is due."""
        await asyncio.sleep(SHORTEST_SLEEP_SECONDS)
        now = self.ledger.now()
        idle = (one for one in self.ledger.outbox if one.endpoint is not None and one not in self._tasks)
        times = [webhook.next_attempt_at for webhook in idle]
        next_move = self.ledger.next_move_at()
        due = min([*times, *([] if next_move is None else [next_move]), now + LONGEST_SLEEP_SECONDS])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), max(due - now, 0))
