"""A shop's backend that talks to a deployment and never gives up while anything moves."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.harness.deployment import Deployment
from tests.harness.patience import Patience, wait_for
from tests.harness.shop import KEY

LONGEST_PAUSE_SECONDS = 0.2  # between two parcels of a return
AT_ONCE = 20  # returns looked at together
Ledger = dict[str, tuple[str, int]]  # Stripe's refund id -> (status, minor units)


class Backend:
    """It repeats each request with its key until a web answers; `answers` counts its answers."""

    def __init__(self, deployment: Deployment, client: httpx.AsyncClient, stripe: httpx.AsyncClient, seed: int) -> None:
        self.deployment, self.client, self.stripe, self.seed = deployment, client, stripe, seed
        self.answers = 0
        self._random = random.Random(f"{seed} backend")

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask any web, again and again with the same key; return the answer.

        Raises AssertionError for a 4xx, and NoProgress once no request at all was answered for too long.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        patience = Patience(f"an answer to {method} {path}")
        while True:
            try:
                web = self._random.choice(self.deployment.webs)
                response = await self.client.request(method, web + path, json=body, headers=headers)
            except httpx.HTTPError as error:
                last = repr(error)
            else:
                if response.status_code < 300:
                    self.answers += 1
                    return dict(response.json())
                last = f"{response.status_code} {response.text}"
                assert response.status_code >= 500 or response.json()["code"] == "idempotency_key_in_use", last
            patience.spend(self.answers)
            await asyncio.sleep(0.1)

    async def more_answers(self, count: int) -> None:
        """Wait until so many more requests have been answered."""
        enough = self.answers + count
        await wait_for(lambda: self.answers, f"{count} more answers", until=lambda answers: answers >= enough)

    async def pay(self, amount: int, card: str = "pm_card_visa") -> str:
        """Let a customer pay at Stripe; return the PaymentIntent's id."""
        form = {"amount": amount, "currency": "usd", "confirm": "true", "payment_method": card}
        response = await self.stripe.post("/v1/payment_intents", data=form)
        return str(response.raise_for_status().json()["id"])

    async def return_in_three_parcels(self, number: int) -> str:
        """Play one return of three units worth 100.00 in three parcels; return its id once all is received."""
        dice = random.Random(f"{self.seed} return {number}")
        payment = await self.pay(10_000)
        lines = [{"sku": "MUG", "quantity": 3, "total_amount": 10_000}]
        order = {"order_id": f"order_{number}", "payment_intent": payment, "currency": "usd"}
        row = await self.ask("POST", "/v1/returns", {**order, "lines": lines})
        await self.ask("POST", f"/v1/returns/{row['id']}/approve", {})
        for parcel in range(3):
            count = [{"sku": "MUG", "quantity": 1, "condition": "new"}]
            await self.ask("POST", f"/v1/returns/{row['id']}/receipts", {"lines": count, "scan_id": f"scan_{parcel}"})
            await asyncio.sleep(dice.uniform(0, LONGEST_PAUSE_SECONDS))
        return str(row["id"])

    async def return_many(self, count: int, first: int = 0) -> list[str]:
        """Play so many returns at once; return their ids."""
        return await asyncio.gather(*(self.return_in_three_parcels(first + number) for number in range(count)))

    async def all_refunded(self, ids: Sequence[str]) -> None:
        """Wait until every return is refunded with the exact sum. Each amount that grows is progress."""
        refunded: dict[str, tuple[str, int]] = dict.fromkeys(ids, ("", 0))

        async def look() -> list[str]:
            left = [name for name, seen in refunded.items() if seen != ("refunded", 10_000)]
            rows = await asyncio.gather(*(self.ask("GET", f"/v1/returns/{name}") for name in left[:AT_ONCE]))
            refunded.update({row["id"]: (row["state"], row["amount_refunded"]) for row in rows})
            return left

        try:
            await wait_for(
                look,
                f"{len(ids)} returns to be refunded",
                until=lambda left: not left,
                progress=lambda: sorted(refunded.values()),
            )
        except AssertionError:
            for name in [name for name, seen in refunded.items() if seen != ("refunded", 10_000)][:3]:
                row = await self.ask("GET", f"/v1/returns/{name}")
                refunds = (await self.ask("GET", f"/v1/refunds?return={name}"))["data"]
                print(json.dumps(row, indent=1)[:3000], json.dumps(refunds, indent=1)[:6000])
            raise

    async def assert_exact(self, ids: Sequence[str]) -> None:
        """Wait until all is refunded; then ours and Stripe's ledger must agree, row by row and in their sum."""
        await self.all_refunded(ids)
        ours, theirs = await self.ledgers()
        assert ours == theirs
        assert sum(amount for _, amount in ours.values()) == 10_000 * len(ids)

    async def ledgers(self) -> tuple[Ledger, Ledger]:
        """Return our ledger and Stripe's."""
        ours = await self.everything(lambda after: self.ask("GET", f"/v1/refunds?limit=100{after}"))

        async def page(after: str) -> dict[str, Any]:
            return dict((await self.stripe.get(f"/v1/refunds?limit=100{after}")).raise_for_status().json())

        theirs = await self.everything(page)
        assert all(refund["stripe_refund"] for refund in ours), "a refund without Stripe's id"
        mine = {refund["stripe_refund"]: (refund["status"], refund["amount"]) for refund in ours}
        return mine, {refund["id"]: (refund["status"], refund["amount"]) for refund in theirs}

    async def everything(self, page: Callable[[str], Awaitable[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Return all pages of a list."""
        rows: list[dict[str, Any]] = []
        while True:
            answer = await page(f"&starting_after={rows[-1]['id']}" if rows else "")
            rows += answer["data"]
            if not answer["has_more"]:
                return rows


@asynccontextmanager
async def backend_of(deployment: Deployment, seed: int = 0) -> AsyncIterator[Backend]:
    """Open a shop's backend; `seed` draws which web it asks, and its pauses."""
    limits = httpx.Limits(max_connections=100, keepalive_expiry=2)  # before the server closes what is idle
    key = {"Authorization": f"Bearer {deployment.api_key}"}
    stripe_key = {"Authorization": f"Bearer {KEY}"}
    async with (
        httpx.AsyncClient(headers=key, timeout=20, limits=limits) as client,
        httpx.AsyncClient(base_url=deployment.stripe, headers=stripe_key, timeout=60, limits=limits) as stripe,
    ):
        yield Backend(deployment, client, stripe, seed)
