"""A shop to look at: simulator, service and worker in one process, with a past, and with work left on every page.

The past is played through the service's commands, the day's story through its public API and Stripe's own SDK only. The
story plays what goes right and what goes wrong, then holds the two ledgers against each other, to the cent.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.progress import Progress

from returns_service import app, logs, wiring
from returns_service.commands.staff_users import existing_user, make_link
from returns_service.demo.calendar import Calendar
from returns_service.demo.history import History
from returns_service.demo.past import PEOPLE, Clock, Past, email_for
from returns_service.demo.proof import Proof, print_proof, prove
from returns_service.demo.shop import Shop
from returns_service.demo.story import STORY
from returns_service.demo.waiting import first_moment, plan_scenes
from returns_service.domain.plural import pluralize
from returns_service.domain.vocabulary import Role
from returns_service.settings import Settings, SettingsError
from returns_service.store.database import Tx
from returns_service.stripe_simulator import Ledger, running

STRIPE_KEY = "sk_test_" + "demo"
WORK: dict[Role, str] = {
    "warehouse": "counts parcels",
    "approver": "decides requests",
    "finance": "looks after refunds",
    "admin": "sees and sets everything",
}
DAYS_BEFORE: Final = 9  # that orders begin before the history, so that its first days have parcels already


async def play(*, port: int, and_exit: bool, as_json: bool, data: Path | None, days: int) -> int:
    """Play the past and the day; return the exit status: 0 if the proof holds."""
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 120
    with tempfile.TemporaryDirectory(prefix="returns-demo-") as folder:
        kept = data or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        file = kept / "returns.db"
        if file.exists():  # its refunds are in no ledger any more: the simulator's is in memory
            raise SettingsError(f"--data: {file} is of an earlier day, whose Stripe is gone. Name another folder")
        listener = app.listen("127.0.0.1", port)
        clock, secret = Clock(), "whsec_" + secrets.token_urlsafe(24)
        ledger = Ledger(clock.unix, random.Random())
        url = app.address_of(listener)
        settings = Settings(
            database_url=f"sqlite:///{file}",
            stripe_secret_key=SecretStr(STRIPE_KEY),
            stripe_webhook_secret=(SecretStr(secret),),
            policy=None,
            public_url=url,
            shop_name="Nordwind",
            shop_email="service@nordwind.example",
            shop_address=("Nordwind Returns", "Am Güterbahnhof 12", "28195 Bremen", "Germany"),
            rate_limit=1000,
            log_level="error",
        )
        logs.set_up_logs(settings)
        afterwards = f"its data stays in {data}" if data else "everything in it is then gone"
        api_key = await play_past(settings, ledger, clock, console, days)
        async with running(ledger, webhook_url=f"{url}/webhooks/stripe", webhook_secret=secret) as stripe_url:
            settings = settings.model_copy(update={"stripe_api_base": stripe_url})
            async with _serve(settings, listener, own_signals=not and_exit) as service:
                demo = Demo(settings, console, url, stripe_url, api_key, afterwards)
                return await demo.show(service, and_exit=and_exit, as_json=as_json)


async def play_past(settings: Settings, ledger: Ledger, clock: Clock, console: Console, days: int) -> str:
    """Play so many days of history, and what waits at the present; return the secret of the shop's API key."""
    began = time.monotonic()
    present = clock()
    database = wiring.database_of(settings, now=clock)
    past = Past(database, ledger, clock, STRIPE_KEY, random.Random(7))
    begins_at = present - timedelta(days=days + DAYS_BEFORE)
    try:
        await past.open(min(begins_at, first_moment(present)))
        calendar = Calendar(past, present)
        if days:
            History(calendar).plan(begins_at)
        plan_scenes(calendar)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("The past", total=1.0)
            await calendar.play(lambda share: progress.update(task, completed=share))
        await past.count_charges()
    finally:
        await past.close()
        await database.close()
    told = f"{pluralize(days, 'day')} of history, and work that waits"
    console.print(f"{time.monotonic() - began:6.1f} s  {told}")
    return past.api_secret


@asynccontextmanager
async def _serve(
    settings: Settings, listener: socket.socket, *, own_signals: bool
) -> AsyncIterator[asyncio.Task[None]]:
    """Serve with a worker inside until the block ends; yield the task, once it takes requests."""
    started = asyncio.Event()
    service = asyncio.create_task(
        app.serve(
            settings, listener, with_worker=True, own_signals=own_signals, reusable_links=True,
            on_ready=lambda _: started.set(),
        )
    )  # fmt: skip
    first = asyncio.create_task(started.wait())
    await asyncio.wait([service, first], return_when=asyncio.FIRST_COMPLETED)
    first.cancel()
    try:
        if service.done():
            service.result()
            raise ConnectionAbortedError("The service was stopped before it was ready.")
        yield service
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo as it runs: where everything is, and where it is told."""

    settings: Settings
    console: Console
    url: str
    stripe_url: str
    api_key: str
    afterwards: str  # a sentence about the data that stays

    async def show(self, service: asyncio.Task[None], *, and_exit: bool, as_json: bool) -> int:
        """Play the day, tell where to look, and serve until told to stop; return the exit status."""
        print_line = self.console.print
        print_line(f"The service listens on {self.url}, the Stripe simulator on {self.stripe_url}.")
        sign_in = await self._make_links()
        day = asyncio.create_task(self._play_day())
        await asyncio.wait([service, day], return_when=asyncio.FIRST_COMPLETED)
        if not day.done():  # told to stop meanwhile: nobody answers the story any more
            day.cancel()
            await asyncio.gather(day, return_exceptions=True)
            return 1
        proof, portal = day.result()
        print_line()
        print_proof(self.console, proof)
        stripe = {"url": self.stripe_url, "page": f"{self.stripe_url}/_control/"}
        where = {"url": self.url, "api_key": self.api_key, "stripe": stripe, "sign_in": sign_in, "portal": portal}
        result = {"holds": proof.holds, "line": proof.line(), "refunds_decided": proof.decided, "returns": proof.rows}
        if as_json:
            print(json.dumps({**where, "proof": result}), flush=True)
        if not and_exit:
            self._tell_where(sign_in, portal)
            await service
        return 0 if proof.holds else 1

    async def _play_day(self) -> tuple[Proof, str]:
        gateway, began = wiring.gateway_of(self.settings), time.monotonic()
        as_shop, as_account = ({"Authorization": f"Bearer {key}"} for key in (self.api_key, STRIPE_KEY))
        try:
            async with (
                httpx.AsyncClient(base_url=self.url, headers=as_shop, timeout=30) as api,
                httpx.AsyncClient(base_url=self.stripe_url, headers=as_account, timeout=30) as control,
            ):
                shop = Shop(
                    api, control, gateway,
                    tell=lambda text: self.console.print(f"{time.monotonic() - began:6.1f} s  {text}"),
                )  # fmt: skip
                for number, chapter in enumerate(STORY, 1):
                    self.console.print(f"\n{number}/{len(STORY)}  {(chapter.__doc__ or '').strip()}", style="bold")
                    await chapter(shop)
                return await prove(shop), await shop.portal_link()
        finally:
            await gateway.close()

    def _tell_where(self, sign_in: Mapping[Role, str], portal: str) -> None:
        """Print who signs in where, how to ask the API, and how to stop."""
        print_line = self.console.print
        print_line("\nSign in: each link works as often as you like, as long as the demo runs.\n", style="bold")
        for role, link in sign_in.items():
            print_line(f"  {role:<10} {PEOPLE[role]:<15} {WORK[role]:<24} {link}")
        print_line(f"  {'customer':<10} {'':<15} {'sends something back':<24} {portal}")
        print_line(f"\nAPI documentation   {self.url}/docs\nStripe simulator    {self.stripe_url}/_control/")
        print_line(f"\ncurl -H 'Authorization: Bearer {self.api_key}' '{self.url}/v1/returns?limit=3'")
        print_line(f"\nPress Ctrl-C to stop the demo; {self.afterwards}.", style="bold")

    async def _make_links(self) -> dict[Role, str]:
        """Return for each role a link that signs in at once, as often as wanted."""
        database = wiring.database_of(self.settings)

        async def work(tx: Tx) -> dict[Role, str]:
            tokens = {
                role: await make_link(tx, await existing_user(tx, email_for(role)), "demo", reusable=True)
                for role in PEOPLE
            }
            return {role: f"{self.url}/sign-in/link/{token}" for role, token in tokens.items()}

        try:
            return await database.run(work)
        finally:
            await database.close()
