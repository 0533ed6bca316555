"""The pages as they are served: by an HTTP client that keeps cookies, and by a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from returns_service.app import listen
from returns_service.commands import staff_users
from returns_service.commands.sessions import begin_session
from returns_service.domain.vocabulary import Role
from returns_service.store.tables import StaffUser
from returns_service.web.pages.visitor import SESSION
from tests.harness.oidc_provider import FakeProvider
from tests.harness.served_shop import ServedShop, open_shop

PASSWORD = "correct horse battery"
# Kept with the least costs: whoever checks it pays what the hash itself names, once for each test that signs in.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
PATIENCE = 90_000  # milliseconds: a busy machine is no reason to fail
expect.set_options(timeout=PATIENCE)
HTML = "text/html,application/xhtml+xml"
INSTALL = "apt-get update && apt-get install -y --no-install-recommends chromium-headless-shell"
MISSING = f"The page tests need a browser. Install one: {INSTALL}   (or name one in BROWSER_BIN)"
# The shell is the same engine without a browser's own windows: a tab takes half the CPU.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


# Pages do what the API's operations do, and those are shown on both databases; these modules read in ways of their own.
ON_BOTH = ("test_approvals", "test_guards", "test_home", "test_receive", "test_refund_desk", "test_returns")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the pages' tests on SQLite, some on both databases."""
    if "database_url" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
        metafunc.parametrize("database_url", ["sqlite", *(["postgresql"] if both else [])], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh migrated database."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[ServedShop]:
    """The service with its pages."""
    async with open_shop(database_url) as shop:
        yield shop


async def add_person(shop: ServedShop, role: Role, email: str | None = None, name: str | None = None) -> StaffUser:
    """Return a new person with the password of all these tests."""
    async with shop.db.transaction() as tx:
        email = email or f"{role}@shop.test"
        known = await staff_users.user_by_email(tx, email)
        return known or await staff_users.add_user(tx, email, role, name=name, password_hash=PASSWORD_HASH)


@dataclass
class Desk:
    """A browser without scripts: it keeps cookies, and sends a page's own form."""

    client: httpx.AsyncClient
    page: httpx.Response | None = None
    headers: dict[str, str] = field(default_factory=lambda: {"Accept": HTML})

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Open a page, without following where it leads."""
        self.page = await self.client.get(path, headers=self.headers | headers)
        return self.page

    @property
    def token(self) -> str:
        """The form token of the page that is open."""
        assert self.page is not None
        match = re.search(r'<meta name="csrf" content="([0-9a-f]{64})">', self.page.text)
        assert match is not None, self.page.text[:2000]
        return match[1]

    async def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send a form with the token of the page that is open, unless `fields` bring another."""
        sent = {"token": self.token, **(fields or {})} if "token" not in (fields or {}) else fields
        return await self.client.post(path, data=sent, headers=self.headers | headers)

    async def sign_in(self, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        """Sign in by password."""
        await self.get("/sign-in")
        return await self.post("/sign-in", {"email": email, "password": password, **fields})


@contextlib.asynccontextmanager
async def open_desk(shop: ServedShop, address: str = "192.0.2.1") -> AsyncIterator[Desk]:
    """Open a browser without scripts, at an address of its own."""
    served: Any = shop.app
    transport = httpx.ASGITransport(app=served, raise_app_exceptions=False, client=(address, 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
        yield Desk(client)


@pytest.fixture
async def desk(shop: ServedShop) -> AsyncIterator[Desk]:
    """A browser without scripts, nobody signed in."""
    async with open_desk(shop) as desk:
        yield desk


@pytest.fixture
def provider(shop: ServedShop) -> FakeProvider:
    """The provider that the shop's staff sign in with."""
    fake = FakeProvider()
    shop.context.provider = fake.client()
    return fake


# --- a real browser --------------------------------------------------------------------------------------------------


def find_browser() -> str | None:
    """Return a browser's file: BROWSER_BIN, the path, Playwright's own cache."""
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
    cached = sorted(cache.glob("chromium-*/chrome-linux*/chrome")) if cache.is_dir() else []
    found = (shutil.which(name) for name in BROWSERS)
    return os.environ.get("BROWSER_BIN") or next(filter(None, found), None) or (str(cached[-1]) if cached else None)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One real browser for all tests of a process; without one these tests skip, except under CI."""
    file = find_browser()
    if file is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=file, args=["--no-sandbox"])
        yield browser
        await browser.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def sign_in_as(shop: ServedShop, desk: Desk, role: Role, name: str | None = None) -> Desk:
    """Sign a new person of this role in; return their browser."""
    await add_person(shop, role, name=name)
    await desk.sign_in(f"{role}@shop.test")
    return desk


@dataclass
class Site:
    """The service on a real port, and a browser to open it with."""

    shop: ServedShop
    browser: Browser
    url: str
    contexts: list[BrowserContext] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # that the browser complained of

    async def context(self, **options: Any) -> BrowserContext:
        """Open a browser profile of its own: cookies, storage, service worker."""
        context = await self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        return context

    async def page(self, context: BrowserContext | None = None, **options: Any) -> Page:
        """Open a tab that tells of broken scripts, broken policies and requests to other hosts."""
        page = await (context or await self.context(**options)).new_page()
        page.on("pageerror", lambda error: self.failures.append(f"script: {error}"))
        page.on("console", self._heard)
        page.on("request", self._asked)
        page.on("response", self._answered)
        return page

    def _heard(self, message: Any) -> None:
        if "Content Security Policy" in message.text or "Content-Security-Policy" in message.text:
            self.failures.append(message.text)

    def _answered(self, response: Any) -> None:
        if response.status >= 500 and response.status != 503:
            self.failures.append(f"{response.status}: {response.url}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.failures.append(f"request to another host: {request.url}")

    async def begin_session(self, context: BrowserContext, email: str) -> None:
        """Let somebody have signed in already, in place of who was signed in before."""
        async with self.shop.db.transaction() as tx:
            user = await staff_users.user_by_email(tx, email)
            assert user is not None
            token = await begin_session(tx, user, "password")
        await context.add_cookies([{"name": SESSION, "value": token, "url": self.url, "httpOnly": True}])

    async def sign_in(self, page: Page, email: str) -> None:
        """Sign in by password, as a person does."""
        await page.goto("/sign-in")
        await page.get_by_label("E-mail", exact=True).fill(email)
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.wait_for_url(lambda url: "/sign-in" not in url)


@contextlib.asynccontextmanager
async def serve(shop: ServedShop) -> AsyncIterator[str]:
    """Serve the shop's application on a port of this machine; return its address."""
    served: Any = shop.app
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(served, log_config=None, access_log=False, lifespan="off", proxy_headers=False)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listener.close()


@pytest.fixture
async def site(sqlite_url: str, browser: Browser) -> AsyncIterator[Site]:
    """The service on a real port, over SQLite, in a real browser; nothing the browser complains of passes."""
    async with open_site(sqlite_url, browser) as site:
        yield site


@contextlib.asynccontextmanager
async def open_site(database_url: str, browser: Browser) -> AsyncIterator[Site]:
    """Serve a database to a browser."""
    async with open_shop(database_url) as shop, serve(shop) as url:
        site = Site(shop, browser, url)
        yield site
        for context in site.contexts:
            await context.close()
        assert site.failures == []
