"""The pages as somebody hears them: names that say what is meant, errors at their fields, what just happened first."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx

from returns_service.domain.vocabulary import Role
from tests.factories import create_api_key, create_device, create_webhook_endpoint
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, open_desk, sign_in_as
from tests.pages.forms import follow, send
from tests.pages.world import ask, parcel, play_day


class _Controls(HTMLParser):
    """Collects each link and button that looks like one: its words, and what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.action = self.does = ""
        self.words: list[str] = []
        self.is_hidden = False
        self.opened = ""  # the tag of the control that is read now

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given.get("action", "")
        if tag == "button" or (tag == "a" and "btn" in given.get("class", "").split()):
            self.opened, self.is_hidden, self.words = tag, "hidden" in given, [given.get("aria-label", "")]
            own = [given.get(name, "") for name in ("href", "name", "value", "form", "data-copy")]
            self.does = " ".join([self.action if tag == "button" else "", *own])

    def handle_data(self, data: str) -> None:
        if self.opened:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.action = ""
        if tag == self.opened:
            name = " ".join(" ".join(self.words).split())
            if name or not self.is_hidden:  # a script gives the hidden one its words
                self.found.append((name, self.does))
            self.opened = ""


def controls_in(page: httpx.Response) -> dict[str, set[str]]:
    """Return what each name of a link or button does on a page, outside its dialogs: those are read alone."""
    reader = _Controls()
    reader.feed(re.sub(r"<dialog.*?</dialog>|<template.*?</template>", "", page.text, flags=re.DOTALL))
    names: dict[str, set[str]] = {}
    for name, does in reader.found:
        names.setdefault(name, set()).add(does)
    return names


async def test_no_two_buttons_of_one_name_do_different_things(shop: ServedShop) -> None:
    day = await play_day(shop)
    payment = day.parcel_here["payment_intent"]
    for amount in (100, 200):
        expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": amount}), 202)
    twice = await parcel(shop, "NW-TWICE")
    for quantity in (1, 2):
        shop.advance(60)
        lines = [{"line": twice["lines"][0]["id"], "quantity": quantity, "condition": "new"}]
        expect(await shop.post(f"/v1/returns/{twice['id']}/receipts", {"lines": lines}), 201)
    async with shop.db.transaction() as tx:
        for name in ("one", "two"):
            await create_webhook_endpoint(tx, url=f"https://{name}.shop.test/hook")
            await create_device(tx, name=f"Dock {name}")
            await create_api_key(tx, name=name)
    shown: dict[Role, tuple[str, ...]] = {
        "approver": ("/approvals", "/approvals?view=aside"),
        "admin": ("/settings", "/returns"),
        "finance": ("/refunds", f"/refunds/payments?payment={payment}", f"/returns/{day.failed['id']}"),
        "warehouse": ("/receive", *(f"/returns/{one['id']}" for one in (twice, day.undeclared))),
    }
    for number, (role, paths) in enumerate(shown.items()):
        async with open_desk(shop, f"192.0.2.{number}") as desk:
            await sign_in_as(shop, desk, role)
            for path in paths:
                names = controls_in(await desk.get(path))
                assert names, path
                assert {name: does for name, does in names.items() if len(does) > 1 or not name} == {}, path


async def test_what_just_happened_is_the_first_that_is_read(shop: ServedShop, desk: Desk) -> None:
    made = await ask(shop, "NW-1", 5900)
    await sign_in_as(shop, desk, "approver")
    page = await desk.get("/approvals")
    told = await follow(desk, await send(desk, page, f"/returns/{made['id']}/approve"))
    assert "<title>Approved: 59.00 EUR · No approvals wait · Returns</title>" in told.text


async def test_a_wrong_choice_is_told_at_its_field(shop: ServedShop, desk: Desk) -> None:
    made = await ask(shop, "NW-1")
    await sign_in_as(shop, desk, "admin")
    page = await desk.get(f"/returns/{made['id']}")
    refused = await send(desk, page, f"/returns/{made['id']}/resolution", resolution="a_pony")
    assert refused.status_code == 422
    field = re.search(r'<fieldset class="field" aria-describedby="([^"]+)">', refused.text)
    assert field is not None
    assert f'<p class="error" id="{field[1]}">' in refused.text


async def test_the_dock_says_aloud_where_a_thing_goes(shop: ServedShop, desk: Desk) -> None:
    """In the one region that is read after each scan, beside whether it counted."""
    made = await parcel(shop, "NW-1")
    await sign_in_as(shop, desk, "warehouse")
    page = await desk.get(f"/receive/{made['id']}")
    told = await follow(desk, await send(desk, page, f"/receive/{made['id']}/scan", q="TOTE-NAT"))
    heard = re.search(r'class="said-now" role="status">(.*?)</div>', told.text, re.DOTALL)
    assert heard is not None
    words = re.sub("<[^>]+>", " ", heard[1]).split()
    assert " ".join(words) == "Counted: 1 of 1 Canvas tote, natural Goes to Restock"
