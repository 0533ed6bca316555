"""A situation in which a page is looked at: whose page it is, in which shop, and the way there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import Page

from returns_service.domain.vocabulary import Role
from tests.pages.conftest import Site, add_person
from tests.pages.world import World

NAMES: dict[Role, str] = {"warehouse": "Mara Kowalczyk", "approver": "Ana Novak", "finance": "Jide Okafor",
                          "admin": "Noor Haddad"}  # fmt: skip


@dataclass
class Look:
    """A shop, and the one tab that everybody looks at it with: a new one costs more than most pages."""

    site: Site
    world: World | None = None
    page: Page | None = None

    @property
    def day(self) -> World:
        """What the day left."""
        assert self.world is not None
        return self.world

    async def tab(self, role: Role | None) -> Page:
        """Return the tab with somebody of the role signed in, or with nobody."""
        if self.page is None:
            self.page = await self.site.page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        await self.page.context.clear_cookies()
        if role is not None:
            person = await add_person(self.site.shop, role, name=NAMES[role])
            await self.site.begin_session(self.page.context, person.email)
        return self.page


Open = Callable[[Look, Page], Awaitable[None]]


@dataclass(frozen=True)
class View:
    """One page in one situation: whose it is, in which shop, and the way there."""

    role: Role | None
    shop: str
    open: Open


VIEWS: dict[str, View] = {}


def view(role: Role | None, shop: str = "busy_shop") -> Callable[[Open], Open]:
    """Declare a situation to look at."""

    def declare(function: Open) -> Open:
        VIEWS[function.__name__] = View(role, shop, function)
        return function

    return declare


def at(path: str, role: Role | None, name: str, shop: str = "busy_shop") -> None:
    """Declare a page that only has to be opened."""

    async def open_page(_: Look, page: Page) -> None:
        await page.goto(path)

    VIEWS[name] = View(role, shop, open_page)
