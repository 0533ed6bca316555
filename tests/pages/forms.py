"""Forms as a browser without scripts sends them: found in the page, with their hidden fields."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import httpx

from tests.pages.conftest import Desk


class _Forms(HTMLParser):
    """Collects each form's address and what it would send untouched."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, dict[str, str]]] = []  # method, address, fields
        self.open: dict[str, str] | None = None
        self.area = ""
        self.select = ""
        self.by_id: dict[str, dict[str, str]] = {}
        self.elsewhere: list[tuple[str, str, str]] = []  # hidden fields outside their form: its id, name, value

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.open = {}
            self.found.append((given.get("method", "get"), given.get("action", ""), self.open))
            self.by_id[given.get("id", "")] = self.open
        if tag == "input" and "form" in given and given.get("type") == "hidden":
            self.elsewhere.append((given["form"], given["name"], given["value"]))
            return
        if self.open is None:
            return
        name, kind = given.get("name", ""), given.get("type", "text")
        if tag == "input" and name and (kind not in ("checkbox", "radio") or "checked" in given):
            self.open[name] = given.get("value", "")
        elif tag == "textarea" and name:
            self.area, self.open[name] = name, ""
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and (self.select not in self.open or "selected" in given):
            self.open[self.select] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        if self.area and self.open is not None:
            self.open[self.area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.area = ""
        elif tag == "select":
            self.select = ""
        elif tag == "form":
            self.open = None


def forms_in(page: httpx.Response) -> dict[str, dict[str, str]]:
    """Return the page's forms that post, by address: what each would send."""
    parser = _Forms()
    parser.feed(page.text)
    for form, name, value in parser.elsewhere:
        parser.by_id[form][name] = value
    return {address: fields for method, address, fields in parser.found if method == "post"}


async def send(desk: Desk, page: httpx.Response, address: str, **fields: Any) -> httpx.Response:
    """Send the page's form at an address, with some fields filled in; asked whether an amount is meant, agree."""
    answer = await send_once(desk, page, address, **fields)
    is_asked = answer.status_code == 200 and forms_in(answer).get(address, {}).get("said")
    return await send_once(desk, answer, address) if is_asked else answer


async def send_once(desk: Desk, page: httpx.Response, address: str, **fields: Any) -> httpx.Response:
    """Send the page's form at an address, with some fields filled in."""
    return await desk.post(address, {**forms_in(page)[address], **fields})


async def follow(desk: Desk, answer: httpx.Response) -> httpx.Response:
    """Open where an answer leads."""
    assert answer.status_code == 303, answer.text
    return await desk.get(answer.headers["location"])
