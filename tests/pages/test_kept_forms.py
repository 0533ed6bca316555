"""Forms that come too late, or name no amount yet: what was typed is kept, and nothing is done that nobody saw."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

import returns_service.web.pages
from returns_service.domain.vocabulary import Role
from returns_service.web.pages.routes import PAGES
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, add_person, sign_in_as
from tests.pages.forms import follow, forms_in, send_once
from tests.pages.portal import offer, path_of, returns_of, tick
from tests.pages.world import approved, ask

TEMPLATES: Final = Path(returns_service.web.pages.__file__).with_name("templates")
OURS = {"Sec-Fetch-Site": "same-origin"}
WORDS = "Worn, and the <b>label</b>\nis gone."


async def typed_decline(shop: ServedShop, desk: Desk) -> tuple[str, dict[str, str]]:
    """Return the address of a refusal that an approver has typed, and its fields."""
    made = await ask(shop, "NW-1")
    await sign_in_as(shop, desk, "approver")
    page = await desk.get(f"/returns/{made['id']}")
    address = f"/returns/{made['id']}/decline"
    return address, {**forms_in(page)[address], "reason": WORDS}


async def state_of(shop: ServedShop, address: str) -> Any:
    """Return the state of the return that a form is about."""
    return (await shop.read_return(address.split("/")[2]))["state"]


async def sign_in_anew(desk: Desk, email: str) -> None:
    """Sign in once more in the same browser, as in another tab after a sign-out."""
    desk.client.cookies.clear()
    await desk.sign_in(email)


def text_of(page: httpx.Response) -> str:
    """Return a page's words."""
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", page.text))


async def test_what_was_typed_outlives_a_new_sign_in(shop: ServedShop, desk: Desk) -> None:
    """Somebody signed in again in another tab: the old form is shown again, and done only once it is sent anew."""
    address, typed = await typed_decline(shop, desk)
    await sign_in_anew(desk, "approver@shop.test")
    again = await desk.post(address, typed, **OURS)
    assert (again.status_code, await state_of(shop, address)) == (403, "requested")
    assert "Decline NW-1?" in text_of(again)
    fields = forms_in(again)[address]
    assert (fields["reason"], fields["once"]) == (WORDS, typed["once"])
    assert fields["token"] != typed["token"]
    assert (await send_once(desk, again, address)).status_code == 303
    assert await state_of(shop, address) == "declined"


async def test_what_was_typed_outlives_the_session(shop: ServedShop, desk: Desk) -> None:
    """The page that asks to sign in holds it, in the browser alone; signed in beside it, it is looked at once more."""
    address, typed = await typed_decline(shop, desk)
    shop.clock.advance(24 * 3600)
    kept = await desk.post(address, typed, **OURS)
    assert kept.status_code == 403
    assert "Nothing was done, and nothing is lost" in kept.text
    assert "label&lt;/b&gt;" in kept.text
    still = await send_once(desk, kept, address, token="0" * 64)
    assert still.status_code in (303, 403), "nobody is signed in yet"
    await sign_in_anew(desk, "approver@shop.test")
    again = await desk.post(address, forms_in(kept)[address], **OURS)
    assert (again.status_code, await state_of(shop, address)) == (403, "requested")
    assert forms_in(again)[address]["reason"].replace("\r\n", "\n") == WORDS
    assert (await send_once(desk, again, address)).status_code == 303
    assert await state_of(shop, address) == "declined"


async def test_several_that_were_chosen_are_looked_at_once_more(shop: ServedShop, desk: Desk) -> None:
    made = [await ask(shop, f"NW-{number}") for number in range(2)]
    await sign_in_as(shop, desk, "approver")
    chosen = "&".join(f"return={one['id']}" for one in made)
    page = await desk.get(f"/approvals/chosen?do=decline&{chosen}")
    typed = {**forms_in(page)["/approvals/chosen"], "return": [one["id"] for one in made], "reason": WORDS,
             "do": "decline"}  # fmt: skip
    shop.clock.advance(24 * 3600)
    kept = await desk.post("/approvals/chosen", typed, **OURS)
    assert "label&lt;/b&gt;" in kept.text
    await sign_in_anew(desk, "approver@shop.test")
    token = forms_in(kept)["/approvals/chosen"]["token"]
    again = await desk.post("/approvals/chosen", {**typed, "token": token}, **OURS)
    assert again.status_code == 403
    assert "Decline 2 returns for 200.00 EUR?" in text_of(again)
    fields = forms_in(again)["/approvals/chosen"]
    assert fields["reason"] == WORDS
    done = await desk.post("/approvals/chosen", {**typed, **fields, "return": typed["return"]})
    assert done.status_code == 303
    assert [(await shop.read_return(one["id"]))["state"] for one in made] == ["declined", "declined"]


async def test_a_form_that_was_sent_before_is_not_done_again_by_being_kept(shop: ServedShop, desk: Desk) -> None:
    """Its one-time token stays: what it did is told once more, in place of a second note."""
    made = await approved(shop, "NW-1")
    await sign_in_as(shop, desk, "approver")
    page = await desk.get(f"/returns/{made['id']}")
    address = f"/returns/{made['id']}/note"
    typed = {**forms_in(page)[address], "text": "She called."}
    assert (await desk.post(address, typed, **OURS)).status_code == 303
    await sign_in_anew(desk, "approver@shop.test")
    again = await desk.post(address, typed, **OURS)
    assert (await send_once(desk, again, address)).status_code == 303
    assert len(expect(await shop.get(f"/v1/returns/{made['id']}/notes"), 200)["data"]) == 1


@pytest.mark.parametrize("signed_in", [True, False])
@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.test"}])
async def test_a_form_that_no_browser_calls_ours_is_not_shown(
    shop: ServedShop, desk: Desk, headers: dict[str, str], signed_in: bool
) -> None:
    """Another site can fill no form of ours in, not even for a person to send."""
    address, typed = await typed_decline(shop, desk)
    if signed_in:
        await sign_in_anew(desk, "approver@shop.test")
    else:
        shop.clock.advance(24 * 3600)
    answer = await desk.post(address, typed, **headers)
    assert answer.status_code == (403 if signed_in else 303)
    assert "Worn" not in answer.text
    assert await state_of(shop, address) == "requested"


async def test_a_kept_form_is_shown_only_to_whom_it_belongs(shop: ServedShop, desk: Desk) -> None:
    address, typed = await typed_decline(shop, desk)
    await add_person(shop, "warehouse")
    await sign_in_anew(desk, "warehouse@shop.test")
    answer = await desk.post(address, typed, **OURS)
    assert (answer.status_code, "not part of your role" in answer.text) == (403, True)


async def test_a_parcel_of_nobody_is_not_typed_twice(shop: ServedShop, desk: Desk) -> None:
    await sign_in_as(shop, desk, "warehouse")
    page = await desk.get("/receive")
    typed = {**forms_in(page)["/parcels"], "items": "2 x MUG\nTOTE", "condition": "new", "note": "Wet."}
    shop.clock.advance(24 * 3600)
    kept = await desk.post("/parcels", typed, **OURS)
    assert "What is inside" in kept.text
    await sign_in_anew(desk, "warehouse@shop.test")
    again = await desk.post("/parcels", forms_in(kept)["/parcels"], **OURS)
    assert (again.status_code, forms_in(again)["/parcels"]["note"]) == (403, "Wet.")
    assert (await send_once(desk, again, "/parcels")).status_code == 303


@dataclass(frozen=True)
class Typed:
    """A form that somebody fills in: the page it stands on, its address, what they type, and what comes of it."""

    role: Role
    page: str
    form: str
    fields: Mapping[str, str]
    done: str  # what is on the page once it is sent


TYPED: Final = (
    Typed("admin", "/settings", "/settings/keys", {"name": "till-7", "scope": "returns:read"}, "till-7"),
    Typed("admin", "/settings", "/settings/people", {"email": "new@shop.test", "role": "finance"}, "new@shop.test"),
    Typed("admin", "/settings", "/settings/webhooks", {"url": "https://shop.example/hook"}, "shop.example/hook"),
    Typed("approver", "/returns?q=NW-1", "/returns/views", {"name": "Mine this week"}, "Mine this week"),
    Typed("warehouse", "/receive/{id}", "/receive/{id}/aside", {"what": "Old kettle"}, "Old kettle"),
    Typed("warehouse", "/receive/{id}", "/receive/{id}/counts", {"{line}:damaged": "1"}, "1 damaged"),
    Typed("warehouse", "/receive/{id}", "/receive/{id}/scan", {"q": "BLU-MUG-9"}, "BLU-MUG-9"),
    Typed("warehouse", "/receive", "/receive/open", {"q": "{id}"}, "{id}"),
)


@pytest.mark.parametrize("typed", TYPED, ids=[typed.form for typed in TYPED])
@pytest.mark.parametrize("ended", [True, False], ids=["session over", "signed in beside"])
async def test_no_form_forgets_what_was_typed_when_a_session_ends(
    shop: ServedShop, desk: Desk, typed: Typed, ended: bool
) -> None:
    """Shown once more after the sign-in, with a token of that session; then it is done, once."""
    made = await approved(shop, "NW-1")
    of = {"id": made["id"], "line": made["lines"][0]["id"]}
    await sign_in_as(shop, desk, typed.role)
    address = typed.form.format(**of)
    fields = {name.format(**of): text.format(**of) for name, text in typed.fields.items()}
    form = {**forms_in(await desk.get(typed.page.format(**of)))[address], **fields}
    if ended:
        shop.clock.advance(24 * 3600)
        kept = await desk.post(address, form, **OURS)
        assert (kept.status_code, "Sign in, then send it" in kept.text) == (403, True)
        assert all(text in text_of(kept) for text in fields.values())
        form = forms_in(kept)[address]
    await sign_in_anew(desk, f"{typed.role}@shop.test")
    again = await desk.post(address, form, **OURS)
    assert (again.status_code, "Send it once more?" in again.text) == (403, True)
    assert all(text in text_of(again) for text in fields.values())
    done = await send_once(desk, again, address)
    page = await follow(desk, done) if done.status_code == 303 else done
    assert page.status_code == 200
    assert typed.done.format(**of) in page.text


def test_every_text_field_of_the_staff_has_a_label_to_be_kept_by() -> None:
    """Whatever page somebody types on next: a form without labels would forget it."""
    pages = [page for page in PAGES if page.method == "POST" and page.scope is not None]
    forgotten = []
    for template in sorted(TEMPLATES.glob("*.html")):
        for action, name in text_fields_in(template.read_text()):
            owners = [page for page in pages if fnmatchcase(page.path, action)]
            kept = any(page.show_again or page.typed_in({name: ["x"]}) for page in owners)
            if owners and not kept:
                forgotten.append((template.name, action, name))
    assert not forgotten


def text_fields_in(template: str) -> list[tuple[str, str]]:
    """Return the text fields of a template's forms at fixed addresses: address as a pattern, and name."""
    plain = re.sub(r"\{\{.*?\}\}", "*", re.sub(r"\{%.*?%\}", "", template))
    fields = []
    for form in re.findall(r"<form\b[^>]*>.*?</form>", plain, flags=re.DOTALL):
        action = re.search(r'action="([^"]*)"', form)
        if action is None or action[1] == "*":  # a declared act, which labels its fields itself
            continue
        for tag in re.findall(r"<(?:input|textarea)\b[^>]*>", form):
            kind, name = re.search(r'type="([^"]*)"', tag), re.search(r'name="([^"]*)"', tag)
            if name is not None and (kind is None or kind[1] in ("text", "email", "url", "number", "search")):
                fields.append((action[1], name[1]))
    return fields


# --- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("currency, typed, said", [("eur", "50", "50.00 EUR"), ("jpy", "1500", "1,500 JPY"),
                                                   ("kwd", "1.25", "1.250 KWD")])  # fmt: skip
async def test_no_button_moves_an_amount_that_it_does_not_name(
    shop: ServedShop, desk: Desk, currency: str, typed: str, said: str
) -> None:
    payment = shop.pay(10_000, currency=currency)
    await sign_in_as(shop, desk, "finance")
    page = await desk.get(f"/refunds/payments?payment={payment}")
    address = f"/refunds/payments/{payment}/refund"
    asked = await send_once(desk, page, address, amount=typed, note="Goodwill.")
    assert f"Refund {said} to Visa ending 4242?" in text_of(asked)
    assert f">Refund {said}</button>" in asked.text
    assert expect(await shop.get(f"/v1/refunds?payment_intent={payment}"), 200)["data"] == []
    other = await send_once(desk, asked, address, amount="2")
    assert other.status_code == 200, "another amount is asked about again"
    changed = await send_once(desk, asked, address, change="1")
    assert forms_in(changed)[address]["note"] == "Goodwill.", "and all that was typed is there"
    done = await send_once(desk, asked, address)
    assert f"{said} decided, goes to Stripe" in (await follow(desk, done)).text


async def test_a_button_of_a_script_that_named_the_amount_is_taken_at_its_word(shop: ServedShop, desk: Desk) -> None:
    payment = shop.pay(10_000, currency="eur")
    await sign_in_as(shop, desk, "finance")
    page = await desk.get(f"/refunds/payments?payment={payment}")
    sent = {"amount": "5", "said": "5", "note": "Goodwill."}
    done = await send_once(desk, page, f"/refunds/payments/{payment}/refund", **sent)
    assert done.status_code == 303


# --- the portal ------------------------------------------------------------------------------------------------------


async def test_a_customers_ticks_outlive_the_form_and_are_not_sent(shop: ServedShop, desk: Desk) -> None:
    """A page left open for days: what was ticked is kept, and sent only from a page that shows its amount."""
    path = path_of(await offer(shop))
    page = await desk.get(path)
    typed = {**forms_in(page)[path], "pick": ["1"], "reason:1": "damaged"}
    desk.client.cookies.clear()
    again = await desk.client.post(path, data=typed | {"do": "send"}, headers=desk.headers | OURS)
    assert (again.status_code, await returns_of(shop)) == (303, [])
    page = await desk.get(path)
    assert "€24.50" in page.text
    assert (await tick(desk, path, "send", page=page, pick=["1"], r1="damaged")).status_code == 303
    assert len(await returns_of(shop)) == 1
