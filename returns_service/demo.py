"""A shop's day, through the public API and Stripe's own SDK only: simulator, service and worker in one process.

It plays what goes right and what goes wrong, then holds the two ledgers against each other, to the cent.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from returns_service import app
from returns_service.commands.keys import SCOPES, create_key
from returns_service.domain.money import shown
from returns_service.settings import Settings
from returns_service.stripe_gateway import StripeGateway
from returns_service.stripe_simulator import Ledger, running

PATIENCE_SECONDS = 20.0
STRIPE_KEY = "sk_test_" + "demo"


@dataclass
class Shop:
    """The shop's backend: it pays at Stripe, and asks the service over HTTP."""

    api: httpx.AsyncClient
    control: httpx.AsyncClient  # the simulator's own path: what happens in the Dashboard, at the bank, on the line
    gateway: StripeGateway
    tell: Callable[[str], None]
    returns: list[tuple[str, str]] = field(default_factory=list)  # (what it shows, id)
    orders: int = 1000

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

    async def bought(
        self, shows: str, lines: list[dict[str, Any]], *, card: str = "pm_card_visa", currency: str = "usd"
    ) -> dict[str, Any]:
        """Let a customer pay, and ask for a return of all of it; approve it."""
        self.orders += 1
        amount = sum(line["total_amount"] for line in lines)
        payment = await self.gateway.take_test_payment(amount, currency, card)
        order = {"order_id": f"order_{self.orders}", "payment_intent": payment, "currency": currency}
        asked = await self.post("/v1/returns", {**order, "reason": "too_small", "lines": lines}, expect=201)
        self.returns.append((shows, asked["id"]))
        self.tell(f"{asked['order_id']}: a return over {shown(amount, currency)} is requested, and approved")
        return await self.post(f"/v1/returns/{asked['id']}/approve")

    async def received(self, row: dict[str, Any], units: int, condition: str = "new") -> None:
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
        paid = shown(found["amount_refunded"], found["currency"])
        outside = found["amount_settled_outside"]
        more = f", {shown(outside, found['currency'])} settled outside" if outside else ""
        self.tell(f"{row['order_id']}: {state}, {paid} refunded{more}")
        return found

    async def refund_of(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the latest refund of a return."""
        found = await self.get(f"/v1/refunds?return={row['id']}&limit=1")
        latest: dict[str, Any] = found["data"][0]
        return latest

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


async def a_full_return(shop: Shop) -> None:
    """All units in one parcel."""
    row = await shop.bought("full return", [line("SHIRT", 2, 4998)])
    await shop.received(row, 2)
    await shop.becomes(row, "refunded")


async def two_parcels(shop: Shop) -> None:
    """Three units in two parcels: the cents come out even."""
    row = await shop.bought("two parcels, 3 units of 100.00", [line("MUG", 3, 10000)])
    await shop.received(row, 1)
    await shop.until(row, lambda r: bool(r["amount_refunded"] == 3333))
    shop.tell(f"{row['order_id']}: 33.33 USD for the first of three is refunded; the rest is expected")
    await shop.received(row, 2, "opened")
    await shop.becomes(row, "refunded")


async def a_partial_return(shop: Shop) -> None:
    """One of two units comes; the shop closes the return."""
    row = await shop.bought("partial, closed", [line("SOCKS", 2, 1799)])
    await shop.received(row, 1)
    await shop.until(row, lambda r: bool(r["amount_refunded"] == 899))
    await shop.post(f"/v1/returns/{row['id']}/close", {"reason": "The customer keeps the other one."})
    await shop.becomes(row, "refunded")


async def a_lost_answer(shop: Shop) -> None:
    """Stripe refunds, the answer is lost: the same key asks again, and the money moves once."""
    row = await shop.bought("answer lost on the way", [line("LAMP", 1, 7250)])
    await shop.fault("drop_after", method="POST", path="/v1/refunds")
    await shop.received(row, 1)
    await shop.becomes(row, "refunded")
    refund = await shop.refund_of(row)
    shop.tell(f"{row['order_id']}: Stripe's answer was lost; asked {refund['attempts']} times, paid once")


async def a_lost_webhook(shop: Shop) -> None:
    """A pending refund's webhook never comes: somebody asks Stripe."""
    row = await shop.bought("webhook lost", [line("SCARF", 1, 3100)], card="pm_card_pendingRefund")
    await shop.fault("lose", event_type="refund.updated")
    await shop.fault("lose", event_type="charge.refund.updated")
    await shop.received(row, 1)
    await shop.until(row, lambda r: bool(r["state"] == "refunding"))
    refund = await shop.refund_of(row)
    shop.tell(f"{row['order_id']}: the bank takes its time, and Stripe's webhook is lost")
    end = time.monotonic() + PATIENCE_SECONDS
    while refund["status"] != "succeeded" and time.monotonic() < end:
        await asyncio.sleep(0.3)
        refund = await shop.post(f"/v1/refunds/{refund['id']}/check")
    await shop.becomes(row, "refunded")


async def a_failing_refund(shop: Shop) -> None:
    """The bank gives the money back: finance settles it outside."""
    row = await shop.bought("refund failed, settled outside", [line("BOOTS", 1, 12900)], card="pm_card_refundFail")
    await shop.received(row, 1)
    found = await shop.becomes(row, "failed")
    shop.tell(f"{row['order_id']}: {found['failure']['message']}")
    outside = {"method": "bank_transfer", "reference": "SEPA-2026-11-0071"}
    await shop.post(f"/v1/returns/{row['id']}/settle_outside", outside)
    await shop.becomes(row, "refunded")


async def a_late_failure(shop: Shop) -> None:
    """Succeeded, then failed: finance retries, with a new row and a new key."""
    row = await shop.bought("late failure, retried", [line("JACKET", 1, 18400)], currency="eur")
    await shop.received(row, 1)
    await shop.becomes(row, "refunded")
    refund = await shop.refund_of(row)
    await shop.move("fail", refund["stripe_refund"], reason="expired_or_canceled_card")
    found = await shop.becomes(row, "failed")
    shop.tell(f"{row['order_id']}: {found['failure']['message']}")
    await shop.post(f"/v1/returns/{row['id']}/retry", expect=202)
    await shop.becomes(row, "refunded")


async def a_dashboard_refund(shop: Shop) -> None:
    """Somebody refunds in the Dashboard: our refund is refused, and nothing is paid twice."""
    row = await shop.bought("refunded in the Dashboard meanwhile", [line("TENT", 1, 25000)])
    await shop.move("refund", row["payment_intent"], amount=25000)
    shop.tell(f"{row['order_id']}: a colleague refunds it in the Stripe Dashboard")
    await shop.received(row, 1)
    found = await shop.until(row, lambda r: r["state"] == "failed" or r["refund_barred"] is not None)
    why = found["refund_barred"]["reason"] if found["refund_barred"] else found["failure"]["message"]
    shop.tell(f"{row['order_id']}: {why}")
    paid = {"method": "dashboard_refund", "reference": "paid by a colleague in the Dashboard"}
    await shop.post(f"/v1/returns/{row['id']}/settle_outside", paid)
    await shop.becomes(row, "refunded")


async def two_clicks(shop: Shop) -> None:
    """Two clicks at once: one refund."""
    row = await shop.bought("two clicks at once", [line("CAP", 2, 4000)])
    asked = {"amount": 4000, "override_reason": "The customer was told so on the phone."}
    keys = [{"Idempotency-Key": str(uuid.uuid4())} for _ in range(2)]
    path = f"/v1/returns/{row['id']}/refund"
    answers = await asyncio.gather(*(shop.api.post(path, json=asked, headers=key) for key in keys))
    codes = sorted(answer.status_code for answer in answers)
    shop.tell(f"{row['order_id']}: two people click Refund at once; the answers are {codes[0]} and {codes[1]}")
    await shop.until(row, lambda r: bool(r["amount_refunded"] == 4000))
    await shop.post(f"/v1/returns/{row['id']}/close", {"reason": "The customer keeps the caps."})
    await shop.becomes(row, "refunded")


STORY = (
    a_full_return,
    two_parcels,
    a_partial_return,
    a_lost_answer,
    a_lost_webhook,
    a_failing_refund,
    a_late_failure,
    a_dashboard_refund,
    two_clicks,
)


@dataclass
class Proof:
    """The two ledgers, refund by refund."""

    ours: dict[str, int]  # Stripe's id -> what we say has reached the customer, minor units
    theirs: dict[str, int]  # the same, as Stripe holds it
    decided: int  # refunds decided here
    rows: list[dict[str, Any]]

    @property
    def holds(self) -> bool:
        """Whether both say the same of every refund, and every return has ended."""
        return self.ours == self.theirs and bool(self.ours) and all(r["state"] == "refunded" for r in self.rows)

    def line(self) -> str:
        """Return the proof in one line."""
        word = "holds" if self.holds else "DOES NOT HOLD"
        return (
            f"Proof {word}: {len(self.ours)} refunds succeeded here, {sum(self.ours.values())} minor units; "
            f"{len(self.theirs)} in Stripe's ledger, {sum(self.theirs.values())} minor units"
        )


async def prove(shop: Shop) -> Proof:
    """Hold our refunds against Stripe's ledger."""
    await asyncio.sleep(1.2)  # whatever Stripe still wants to change on its own has happened then
    ours = [refund for refund in await everything(shop.api, "/v1/refunds") if refund["stripe_refund"]]
    theirs = await everything(shop.control, "/v1/refunds")
    rows = []
    for shows, name in shop.returns:
        row = await shop.get(f"/v1/returns/{name}")
        rows.append({"shows": shows} | {key: row[key] for key in ROW})
    return Proof(
        {r["stripe_refund"]: r["amount"] for r in ours if r["status"] == "succeeded"},
        {r["id"]: r["amount"] for r in theirs if r["status"] == "succeeded"},
        sum(r["source"] != "external" for r in ours),
        rows,
    )


ROW = ("id", "order_id", "state", "currency", "amount_authorized", "amount_refunded", "amount_settled_outside")


async def everything(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """Return all pages of a list."""
    found: list[dict[str, Any]] = []
    while True:
        after = {"starting_after": found[-1]["id"]} if found else {}
        page = (await client.get(path, params={"limit": 100, **after})).raise_for_status().json()
        found += page["data"]
        if not page["has_more"]:
            return found


def printed(console: Console, proof: Proof) -> None:
    """Print the day's table and the proof."""
    table = Table("order", "what happened", "state", "authorized", "refunded", "settled outside")
    for row in proof.rows:
        currency = row["currency"]
        amounts = (shown(row[f"amount_{kind}"], currency) for kind in ("authorized", "refunded", "settled_outside"))
        table.add_row(row["order_id"], row["shows"], row["state"], *amounts)
    console.print(table)
    console.print(proof.line(), style="bold green" if proof.holds else "bold red")


async def play(*, port: int, and_exit: bool, as_json: bool, data: Path | None) -> int:
    """Play the day; return the exit status: 0 if the proof holds."""
    console = Console(stderr=as_json, highlight=False)
    with tempfile.TemporaryDirectory(prefix="returns-demo-") as folder:
        kept = data or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        secret = "whsec_" + secrets.token_urlsafe(24)
        listener = app.listening("127.0.0.1", port)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ledger = Ledger(time.time, random.Random())
        async with running(ledger, webhook_url=f"{url}/webhooks/stripe", webhook_secret=secret) as stripe_url:
            settings = Settings(
                database_url=f"sqlite:///{kept / 'returns.db'}",
                stripe_secret_key=SecretStr(STRIPE_KEY),
                stripe_webhook_secret=(SecretStr(secret),),
                policy=None,
                stripe_api_base=stripe_url,
                public_url=url,
                rate_limit=1000,
                log_level="error",
            )
            app.set_up_logs(settings)
            started = asyncio.Event()
            service = asyncio.create_task(
                app.serve(
                    settings, listener, with_worker=True, own_signals=not and_exit, on_ready=lambda _: started.set()
                )
            )
            first = asyncio.create_task(started.wait())
            await asyncio.wait([service, first], return_when=asyncio.FIRST_COMPLETED)
            if service.done():
                service.result()
                return 1
            try:
                return await _day(settings, console, url, stripe_url, service, and_exit=and_exit, as_json=as_json)
            finally:
                service.cancel()
                await asyncio.gather(service, return_exceptions=True)


async def _day(
    settings: Settings,
    console: Console,
    url: str,
    stripe_url: str,
    service: asyncio.Task[None],
    *,
    and_exit: bool,
    as_json: bool,
) -> int:
    api_key = await _new_key(settings)
    console.print(f"The service listens on {url}, the Stripe simulator on {stripe_url}.")
    gateway = app.gateway_of(settings)
    as_shop = {"Authorization": f"Bearer {api_key}"}
    as_account = {"Authorization": f"Bearer {STRIPE_KEY}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=as_shop, timeout=30) as api,
        httpx.AsyncClient(base_url=stripe_url, headers=as_account, timeout=30) as control,
    ):
        began = time.monotonic()
        shop = Shop(
            api, control, gateway, tell=lambda text: console.print(f"{time.monotonic() - began:6.1f} s  {text}")
        )
        try:
            for number, chapter in enumerate(STORY, 1):
                console.print(f"\n{number}/{len(STORY)}  {(chapter.__doc__ or '').strip()}", style="bold")
                await chapter(shop)
            proof = await prove(shop)
        finally:
            await gateway.close()
    console.print()
    printed(console, proof)
    where = {"url": url, "api_key": api_key, "stripe": {"url": stripe_url, "page": f"{stripe_url}/_control/"}}
    result = {"holds": proof.holds, "line": proof.line(), "refunds_decided": proof.decided, "returns": proof.rows}
    if as_json:
        print(json.dumps({**where, "proof": result}), flush=True)
    if and_exit:
        return 0 if proof.holds else 1
    console.print(f"\nAPI documentation: {url}/docs     Stripe simulator: {stripe_url}/_control/")
    console.print(f"\ncurl -H 'Authorization: Bearer {api_key}' {url}/v1/returns?limit=3\n", soft_wrap=True)
    console.print("Ctrl-C ends it.")
    await service
    return 0 if proof.holds else 1


async def _new_key(settings: Settings) -> str:
    database = app.database_of(settings)
    try:
        _, secret = await database.run(lambda tx: create_key(tx, "demo", SCOPES))
        return secret
    finally:
        await database.close()
