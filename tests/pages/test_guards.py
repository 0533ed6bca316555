"""Every page with every role, every form without its token, and what all answers have in common."""

from __future__ import annotations

import re
from typing import Any

import pytest

from returns_service.domain.roles import allows, scopes_of
from returns_service.domain.vocabulary import ROLES, Role
from returns_service.web.pages.page import Page
from returns_service.web.pages.routes import PAGES
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk, add_person, open_desk

# Who may open what, written down once more: a page that is opened to more people by mistake is found here.
OPEN = {
    "/sign-in", "/sign-in/link/{link:str}", "/sign-in/device", "/sign-in/device/ask",
    "/sign-in/provider", "/sign-in/provider/callback", "/sign-in/provider/ended",
    "/portal", "/portal/{link:str}", "/portal/{link:str}/cancel",  # a customer's signed link is their key
}  # fmt: skip
RECEIVING = "/receive"
_R, _RFD = "/returns/{return_id:str}", "/refunds/{refund_id:str}"
FORMS_OF = {
    f"{_R}/approve": "returns:approve", f"{_R}/decline": "returns:approve", f"{_R}/reopen": "returns:approve",
    f"{_R}/cancel": "returns:write", f"{_R}/close": "returns:write", f"{_R}/note": "returns:write",
    f"{_R}/resolution": "returns:write",
    f"{_R}/refund": "refunds:write", f"{_R}/retry": "refunds:write", f"{_R}/settle_outside": "refunds:write",
    f"{_R}/acknowledge": "refunds:write",
    f"{_R}/receipts/{{receipt_id:str}}/take_back": "receipts:write",
    f"{_R}/receipts/{{receipt_id:str}}/correct": "receipts:write",
    f"{_R}/receipts/{{receipt_id:str}}/inspect": "receipts:write",
    f"{_R}/undeclared/{{undeclared_id:str}}/resolve": "receipts:write",
    "/parcels/{unmatched_id:str}/attach": "receipts:write", "/parcels": "receipts:write",
    "/photos/of/{about_id:str}": "receipts:write",
    **{f"{_RFD}/{act}": "refunds:write" for act in
       ("check", "retry", "settle_outside", "send_again", "cancel", "acknowledge", "assign")},
    f"{_RFD}/approve": "returns:approve", "/refunds/payments/{payment_id:str}/refund": "refunds:write",
}  # fmt: skip


def path_of(page: Page) -> str:
    return re.sub(r"\{\w+:str\}", "x_1", page.path)


def who_may(page: Page) -> set[Role]:
    asked = [scope for scope in (page.scope, page.or_scope) if scope is not None]
    return {role for role in ROLES if not asked or any(allows(scopes_of(role), scope) for scope in asked)}


def test_the_pages_open_to_whom_they_should() -> None:
    for page in PAGES:
        if page.path in OPEN:
            assert page.scope is None, page.path
        elif page.path.startswith(RECEIVING):
            assert who_may(page) == {"warehouse", "admin"}, page.path
        elif page.path.startswith("/settings"):
            assert who_may(page) == {"admin"}, page.path
            assert page.personal, page.path
        elif page.path in ("/refunds", "/refunds/solved", "/refunds.csv", "/refunds/payments"):
            assert who_may(page) == {"finance", "admin"}, page.path
            assert page.personal, page.path
        elif page.path.startswith("/dashboard"):
            assert who_may(page) == {"finance", "approver", "admin"}, page.path
            assert page.personal, page.path
        elif page.path == "/parcels/{unmatched_id:str}":
            assert who_may(page) == {"warehouse", "admin"}, page.path
        elif page.path.startswith("/approvals"):
            assert who_may(page) == {"approver", "admin"}, page.path
            assert page.personal, page.path
        elif page.path in FORMS_OF:
            scope = FORMS_OF[page.path]
            assert page.scope == scope, page.path
            assert page.personal or scope == "receipts:write", page.path
        elif page.path.startswith(("/you", "/returns/views", "/returns.csv")):
            assert who_may(page) == set(ROLES), page.path
            assert page.personal, page.path
        else:
            plain = ("/", "/live", "/sign-out", "/returns", "/photos/{photo_id:str}", _R)
            assert page.path in plain, f"say here who may open {page.path}"
            assert who_may(page) == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
async def test_every_page_with_every_role(shop: ServedShop, desk: Desk, role: Role) -> None:
    await add_person(shop, role)
    await desk.sign_in(f"{role}@shop.test")
    await desk.get("/you")
    token = desk.token
    before = await shop.count_rows()
    for page in PAGES:
        if page.scope is None or page.path in ("/sign-out", "/you/sessions/end"):
            continue
        path = path_of(page)
        answer = await (desk.get(path) if page.method == "GET" else desk.post(path, {"token": token}))
        if role in who_may(page):
            assert answer.status_code in (200, 303, 404, 422), (page.path, answer.status_code, answer.text)
        else:
            assert answer.status_code == 403, (page.path, answer.status_code)
            assert "not part of your role" in answer.text
    assert await shop.count_rows() == before


async def test_every_page_without_a_session_leads_to_the_sign_in(shop: ServedShop, desk: Desk) -> None:
    for page in PAGES:
        if page.scope is None:
            continue
        path = path_of(page)
        answer = await (desk.get(path) if page.method == "GET" else desk.client.post(path, headers=desk.headers))
        assert answer.status_code == 303, page.path
        assert answer.headers["location"].startswith("/sign-in"), page.path
        scripted = await desk.client.request(page.method, path, headers={"Accept": "application/json"})
        assert scripted.status_code == 401, "a script must not take the sign-in for an answer"


@pytest.mark.parametrize(
    "how", ["no token", "token of another session", "another site", "another origin", "origin null", "same site"]
)
async def test_a_form_of_another_site_does_nothing(shop: ServedShop, desk: Desk, how: str) -> None:
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    await desk.get("/you")
    token, headers = desk.token, {}
    if how == "no token":
        token = ""
    elif how == "token of another session":
        async with open_desk(shop) as other:
            await other.sign_in("admin@shop.test")
            await other.get("/you")
            token = other.token
    else:
        headers = {
            "another site": {"Sec-Fetch-Site": "cross-site"}, "same site": {"Sec-Fetch-Site": "same-site"},
            "another origin": {"Origin": "http://evil.test"}, "origin null": {"Origin": "null"},
        }[how]  # fmt: skip
    for page in (page for page in PAGES if page.method == "POST"):
        answer = await desk.post(path_of(page), {"token": token, "password": "a new password!"}, **headers)
        assert answer.status_code == 403, page.path
        assert "out of date" in answer.text or "Please open the page again" in answer.text
    assert (await desk.get("/you")).status_code == 200, "not even signed out"


async def test_a_form_of_ones_own_is_taken_with_what_browsers_send(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    await desk.get("/you")
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://shop.test"}, {}):
        assert (await desk.post("/you/sessions/end", None, **headers)).status_code == 303


async def test_the_sign_ins_form_is_bound_to_one_browser_too(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "admin")
    await desk.get("/sign-in")
    async with open_desk(shop) as victim:
        await victim.get("/sign-in")
        sent = {"token": desk.token, "email": "admin@shop.test", "password": "correct horse battery"}
        assert (await victim.post("/sign-in", sent)).status_code == 403


async def test_what_all_pages_say_to_the_browser(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    for path in ("/", "/you", "/nowhere", "/returns/ret_01k9", "/sign-in/device", "/offline"):
        answer = await desk.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", answer.text), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text), path


async def test_static_files_are_kept_for_ever_and_other_files_are_not_served(shop: ServedShop, desk: Desk) -> None:
    page = await desk.get("/sign-in")
    names = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert len(names) >= 3
    for name in (*names, names[0].rpartition("/")[0] + "/fonts/Roboto-Regular.woff2"):
        answer = await desk.get(name)
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]
    base = names[0].rpartition("/")[0]
    for hostile in ("../rendering.py", "..%2frendering.py", "%2e%2e/rendering.py", "....//rendering.py", "nothing.css"):
        assert (await desk.get(f"{base}/{hostile}")).status_code == 404, hostile


async def test_the_service_worker_may_answer_for_the_whole_site(desk: Desk) -> None:
    answer = await desk.get("/sw.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache"
    for file in re.findall(r'"(/static/[^"]+\.\w+)"', answer.text):
        assert (await desk.get(file)).status_code == 200


async def test_the_api_answers_as_before_and_a_browser_gets_a_page(shop: ServedShop, desk: Desk) -> None:
    for path, accept, kind in [
        ("/v1/nothing", "text/html", "application/problem+json"), ("/nothing", "*/*", "application/problem+json"),
        ("/nothing", "application/json", "application/problem+json"), ("/nothing", "text/html", "text/html"),
    ]:  # fmt: skip
        answer = await shop.client.get(path, headers={"Accept": accept})
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith(kind), (path, accept)


async def test_an_id_that_was_cut_off_is_said_so(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "approver")
    await desk.sign_in("approver@shop.test")
    answer = await desk.get("/returns/ret_01k9x7d3m8f2aw01k9x7d3m8")
    assert (answer.status_code, "2 characters short" in answer.text) == (404, True)


async def test_a_page_says_what_is_safe_when_the_database_is_gone(
    shop: ServedShop, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(type(shop.db), "reading", gone)
    answer = await desk.get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "No money moved" in answer.text


async def test_a_form_whose_answer_got_lost_is_not_called_undone(
    shop: ServedShop, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that goes away at the commit may have done it: the page says what is true in both cases."""
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    await desk.get("/you")

    async def gone(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(type(shop.db), "run", gone)
    answer = await desk.post("/you/sessions/end")
    assert answer.status_code == 503
    assert "Nothing is half done" in answer.text
    assert "nothing was changed" not in answer.text


async def test_a_form_about_what_is_gone_says_so_and_keeps_the_way_back(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    await desk.get("/returns")
    referer = {"Referer": "http://shop.test/returns?view=failed&did=evt_x"}
    answer = await desk.post("/you/sessions/ses_gone/end", {}, **referer)
    assert answer.status_code == 404
    assert "You have no such session." in answer.text
    assert "No page has the address" not in answer.text
    assert 'href="/returns?view=failed"' in answer.text


async def test_an_error_of_ours_tells_its_number_and_nothing_else(
    shop: ServedShop, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a customer's name")

    monkeypatch.setattr(type(shop.db), "reading", broken)
    answer = await desk.get("/")
    assert answer.status_code == 500
    assert answer.headers["request-id"] in answer.text
    assert "customer's name" not in answer.text


PART = b"--x\r\nContent-Disposition: form-data; %s\r\n\r\nodd\r\n--x--\r\n"


@pytest.mark.parametrize(
    "content, kind",
    [
        (b"token=%00", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"--x\r\nContent-Disposition: form-data; name=", "multipart/form-data; boundary=x"),
        (b"nothing", "multipart/form-data"),
        (PART % b'name="a"\r\nContent-Type: text/plain; charset=klingon', "multipart/form-data; boundary=x"),
        (PART % b'name="a"\r\nContent-Type: text/plain; charset=base64', "multipart/form-data; boundary=x"),
        (PART % b'name="a"\r\nContent-Type: text/plain; charset=utf-16', "multipart/form-data; boundary=x"),
        (PART % b"nothing=1", "multipart/form-data; boundary=x"),
        (PART % b'filename="a"', "multipart/form-data; boundary=x"),
        (b"a", "multipart/form-data; boundary=" + "y" * 300),
        (b"[" * 100_000, "application/json"),
        (b"{}", "application/json"),
        (b"<a/>", "text/xml"),
        (b"a=1&" * 30_000, "application/x-www-form-urlencoded"),
    ],
)
async def test_hostile_forms_are_refused(shop: ServedShop, desk: Desk, content: bytes, kind: str) -> None:
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    for path in ("/sign-in", "/you/password", "/sign-in/device/ask"):
        answer = await desk.client.post(path, content=content, headers={"Content-Type": kind, "Accept": "text/html"})
        assert answer.status_code in (400, 403, 413, 415), (path, answer.status_code)


async def test_a_version_that_a_form_of_no_return_names_is_not_looked_at(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "finance")
    await desk.sign_in("finance@shop.test")
    await desk.get("/refunds")
    fields = {"once": "0123456789abcdef", "if_match": '"1"', "reason": "Made up."}
    assert (await desk.post("/refunds/rfd_none/acknowledge", fields)).status_code == 404


async def test_a_time_zone_that_is_none_is_utc(shop: ServedShop, desk: Desk) -> None:
    await add_person(shop, "admin")
    await desk.sign_in("admin@shop.test")
    for zone, shown in (
        ("../../etc/passwd", "UTC"),
        ("Asia/Tokyo", "JST"),
        ("America/Sao_Paulo", "UTC-03"),
        ("", "UTC"),
    ):
        desk.client.cookies.set("returns_zone", zone)
        assert re.search(rf"\d\d:\d\d {shown}<", (await desk.get("/")).text), zone
