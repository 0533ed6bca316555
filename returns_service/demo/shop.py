"""The shop of the demo: its backend, its customers, its dock and its colleagues, all outside of the service."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from returns_service.demo.catalogue import NAMES, email_of
from returns_service.domain.money import format_amount
from returns_service.stripe_gateway import StripeGateway

PATIENCE_SECONDS = 60.0  # a busy machine takes long; a return that never comes there is told with its reasons


@dataclass
class Shop:
    """The shop's backend: it pays at Stripe, and asks the service over HTTP."""

    api: httpx.AsyncClient
    control: httpx.AsyncClient  # the simulator's own path: what happens in the Dashboard, at the bank, on the line
    gateway: StripeGateway
    tell: Callable[[str], None]
    returns: list[tuple[str, str]] = field(default_factory=list)  # (what it shows, id)
    orders: int = 48_300

    async def post(self, path: str, body: dict[str, Any] | None = None, expect: int = 200) -> dict[str, Any]:
        """Ask the service; the same key would answer the same."""
        answer = await self.api.post(path, json=body or {}, headers={"Idempotency-Key": str(uuid.uuid4())})
        found: dict[str, Any] = answer.json()
        if answer.status_code != expect:
            raise RuntimeError(f"POST {path}: {answer.status_code} {json.dumps(found)}")
        return found

    async def get(self, path: str) -> dict[str, Any]:
        """Read from the service."""
        answer = await self.api.get(path)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def buy(
        self, shows: str, lines: list[dict[str, Any]], *,
        card: str = "pm_card_visa", currency: str = "usd", resolution: str = "refund",
    ) -> dict[str, Any]:  # fmt: skip
        """Let a customer pay, and ask for a return of all of it; approve it."""
        self.orders += 1
        amount = sum(line["total_amount"] for line in lines)
        payment = await self.gateway.take_test_payment(amount, currency, card)
        customer = NAMES[self.orders % len(NAMES)]
        named = {"customer_name": customer, "customer_email": email_of(customer)}
        order = {"order_id": f"NW-{self.orders}", "payment_intent": payment, "currency": currency, **named}
        body = {**order, "reason": "too_small", "lines": lines, "resolution": resolution}
        asked = await self.post("/v1/returns", body, expect=201)
        self.returns.append((shows, asked["id"]))
        self.tell(f"{asked['order_id']}: a return over {format_amount(amount, currency)} is requested, and approved")
        return await self.post(f"/v1/returns/{asked['id']}/approve")

    async def portal_link(self) -> str:
        """Return a customer's link to an order of theirs, of which nothing came back yet."""
        items = [("CREW-L", "Merino crew sweater, undyed, size L", 3, 10000), ("TOTE", "Canvas tote, natural", 1, 2450)]
        lines = [
            {"sku": sku, "title": title, "quantity": units, "total_amount": amount, "order_line": sku}
            for sku, title, units, amount in items
        ]
        payment = await self.gateway.take_test_payment(12450, "eur", "pm_card_visa")
        bought_at = (datetime.now(UTC) - timedelta(days=6)).isoformat()
        order = {"order_id": "NW-48213", "payment_intent": payment, "currency": "eur", "purchased_at": bought_at}
        session = await self.post("/v1/portal_sessions", {**order, "lines": lines}, expect=201)
        return str(session["url"])

    async def receive(self, row: dict[str, Any], units: int, condition: str = "new") -> None:
        """Count units of the first line at the dock."""
        line = {"line": row["lines"][0]["id"], "quantity": units, "condition": condition}
        await self.post(
            f"/v1/returns/{row['id']}/receipts", {"lines": [line], "scan_id": str(uuid.uuid4())}, expect=201
        )
        self.tell(f"{row['order_id']}: the dock counts {units} x {line_name(row)}, {condition}")

    async def until(self, row: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the return is as said. Raises TimeoutError with what it is instead."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = await self.get(f"/v1/returns/{row['id']}")
            if holds(found):
                return found
            if time.monotonic() > end:
                raise TimeoutError(f"{row['order_id']} stays {found['state']}: {json.dumps(found['barred_actions'])}")
            await asyncio.sleep(0.05)

    async def becomes(self, row: dict[str, Any], state: str) -> dict[str, Any]:
        """Wait until the return is in `state`, and tell."""
        found = await self.until(row, lambda r: bool(r["state"] == state))
        paid = format_amount(found["amount_refunded"], found["currency"])
        outside = found["amount_settled_outside"]
        more = f", {format_amount(outside, found['currency'])} settled outside" if outside else ""
        self.tell(f"{row['order_id']}: {state}, {paid} refunded{more}")
        return found

    async def refund_of(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the latest refund of a return."""
        found = await self.get(f"/v1/refunds?return={row['id']}&limit=1")
        latest: dict[str, Any] = found["data"][0]
        return latest

    async def made_outside(self, row: dict[str, Any]) -> dict[str, Any]:
        """Wait until the service knows of a refund that somebody made in the Dashboard; return it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            listed = await self.get(f"/v1/refunds?payment_intent={row['payment_intent']}")
            found: list[dict[str, Any]] = [refund for refund in listed["data"] if refund["source"] == "external"]
            if found:
                return found[-1]
            if time.monotonic() > end:
                raise TimeoutError(f"{row['order_id']}: the refund made in the Dashboard isn't known")
            await asyncio.sleep(0.05)

    async def move(self, name: str, target: str, **more: Any) -> None:
        """Do by hand at Stripe what no API call of the service does."""
        (await self.control.post("/_control/moves", json={"move": name, "id": target, **more})).raise_for_status()

    async def fault(self, name: str, **more: Any) -> None:
        """Arm a fault of the line to Stripe."""
        (await self.control.post("/_control/faults", json={"name": name, "count": 1, **more})).raise_for_status()


def line_name(row: dict[str, Any]) -> str:
    """Return what the first line's units are called."""
    return str(row["lines"][0]["sku"])


def line(sku: str, quantity: int, total_amount: int) -> dict[str, Any]:
    """Return a line of a return."""
    return {"sku": sku, "title": sku.title(), "quantity": quantity, "total_amount": total_amount}
