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
from pathlib import Path

import httpx
from pydantic import SecretStr
from rich.console import Console

from returns_service import app, logs
from returns_service.commands.api_keys import create_key
from returns_service.commands.staff_users import add_user, make_link
from returns_service.demo.proof import printed, prove
from returns_service.demo.shop import Shop
from returns_service.demo.story import STORY
from returns_service.domain.vocabulary import SCOPES, Role
from returns_service.settings import Settings, SettingsError
from returns_service.store.database import Tx
from returns_service.stripe_simulator import Ledger, running

PEOPLE: dict[Role, str] = {
    "warehouse": "Mara Kowalczyk",
    "approver": "Ana Novak",
    "finance": "Jide Okafor",
    "admin": "Noor Haddad",
}
STRIPE_KEY = "sk_test_" + "demo"


async def play(*, port: int, and_exit: bool, as_json: bool, data: Path | None) -> int:
    """Play the day; return the exit status: 0 if the proof holds."""
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 120
    with tempfile.TemporaryDirectory(prefix="returns-demo-") as folder:
        kept = data or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        file = kept / "returns.db"
        if file.exists():  # its refunds are in no ledger any more: the simulator's is in memory
            raise SettingsError(f"--data: {file} is of an earlier day, whose Stripe is gone. Name another folder")
        secret = "whsec_" + secrets.token_urlsafe(24)
        listener = app.listen("127.0.0.1", port)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ledger = Ledger(time.time, random.Random())
        async with running(ledger, webhook_url=f"{url}/webhooks/stripe", webhook_secret=secret) as stripe_url:
            settings = Settings(
                database_url=f"sqlite:///{file}",
                stripe_secret_key=SecretStr(STRIPE_KEY),
                stripe_webhook_secret=(SecretStr(secret),),
                policy=None,
                stripe_api_base=stripe_url,
                public_url=url,
                shop_name="Nordwind",
                shop_email="service@nordwind.example",
                shop_address=("Nordwind Returns", "Am Güterbahnhof 12", "28195 Bremen", "Germany"),
                rate_limit=1000,
                log_level="error",
            )
            logs.set_up_logs(settings)
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
    api_key, sign_in = await _let_in(settings)
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
            portal = await shop.portal_link()
        finally:
            await gateway.close()
    console.print()
    printed(console, proof)
    stripe = {"url": stripe_url, "page": f"{stripe_url}/_control/"}
    where = {"url": url, "api_key": api_key, "stripe": stripe, "sign_in": sign_in, "portal": portal}
    result = {"holds": proof.holds, "line": proof.line(), "refunds_decided": proof.decided, "returns": proof.rows}
    if as_json:
        print(json.dumps({**where, "proof": result}), flush=True)
    if and_exit:
        return 0 if proof.holds else 1
    console.print(f"\nAPI documentation: {url}/docs     Stripe simulator: {stripe_url}/_control/")
    console.print(f"\ncurl -H 'Authorization: Bearer {api_key}' {url}/v1/returns?limit=3\n", soft_wrap=True)
    for role, link in sign_in.items():
        console.print(f"{role:<10} signs in at {link}")
    console.print(f"customer   sends something back at {portal}")
    console.print("Ctrl-C ends it.")
    await service
    return 0 if proof.holds else 1


async def _let_in(settings: Settings) -> tuple[str, dict[str, str]]:
    """Return a key that may do everything, and for each role a link that signs in at once, as often as wanted."""
    database = app.database_of(settings)

    async def work(tx: Tx) -> tuple[str, dict[str, str]]:
        _, secret = await create_key(tx, "demo", SCOPES)
        links: dict[str, str] = {}
        for role, name in PEOPLE.items():
            user = await add_user(tx, f"{role}@demo.example", role, name=name)
            token = await make_link(tx, user, "demo", reusable=True)
            links[role] = f"{settings.public_url}/sign-in/link/{token}"
        return secret, links

    try:
        return await database.run(work)
    finally:
        await database.close()
