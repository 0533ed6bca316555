"""Photos of customers and of the dock: added once, shown where they belong, to staff alone; parcels get a number."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from returns_service.commands import erasure
from returns_service.domain.policy import DEFAULT
from returns_service.domain.slip_code import is_slip_code
from returns_service.return_case.events import Actor
from returns_service.store.tables import Photo
from returns_service.web.pages.parcels import units_in
from tests import factories
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, add_person
from tests.pages.forms import follow, forms_in
from tests.pages.portal import picture
from tests.pages.world import approved, ask, parcel

PNG = ("crack.png", picture("PNG"), "image/png")


@pytest.fixture
async def dock(shop: ServedShop, desk: Desk) -> Desk:
    """A browser without scripts, somebody of the warehouse signed in."""
    await add_person(shop, "warehouse", name="Mara Kowalczyk")
    await desk.sign_in("warehouse@shop.test")
    return desk


async def photos(shop: ServedShop) -> list[Photo]:
    async with shop.db.reading() as tx:
        return list((await tx.exec(select(Photo).order_by(col(Photo.id)))).all())


async def upload(desk: Desk, page: httpx.Response, address: str, file: Any = PNG, **fields: Any) -> httpx.Response:
    """Send the page's form at an address with a photo."""
    sent = {**forms_in(page)[address], **fields}
    sent.pop("photo", None)
    return await desk.client.post(address, data=sent, files={"photo": file}, headers=desk.headers)


async def test_a_photo_of_an_undeclared_item_is_added_once_and_shown_on_its_return(
    shop: ServedShop, dock: Desk
) -> None:
    made = await approved(shop, "NW-1")
    body = {"undeclared": [{"sku": "MUG", "quantity": 1}]}
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 201)
    item = receipt["undeclared"][0]["id"]
    page = await dock.get(f"/returns/{made['id']}")
    answers = [await upload(dock, page, f"/photos/of/{item}") for _ in range(2)]
    told = await follow(dock, answers[0])
    (photo,) = await photos(shop)
    assert (photo.about_id, photo.return_id, photo.media_type) == (item, made["id"], "image/webp")
    assert told.text.count(f'href="/photos/{photo.id}"') == 1
    assert "by Mara Kowalczyk" in told.text
    assert (await dock.get(f"/photos/{photo.id}")).content == photo.content
    dock.client.cookies.clear()
    assert (await dock.get(f"/photos/{photo.id}")).status_code == 303


@pytest.mark.parametrize(
    "content, says", [(b"GIF89a", "no photo we can read"), (PNG[1][:70], "is broken")], ids=["none", "cut off"]
)
async def test_what_is_no_photo_is_refused_in_words(shop: ServedShop, dock: Desk, content: bytes, says: str) -> None:
    made = await approved(shop, "NW-1")
    receipt = await shop.receive_parcel(made["id"])
    page = await dock.get(f"/returns/{made['id']}")
    refused = await upload(dock, page, f"/photos/of/{receipt['id']}", ("x.png", content, "image/png"))
    assert (refused.status_code, says in refused.text) == (422, True)
    assert (await upload(dock, page, f"/photos/of/{receipt['id']}")).status_code == 303, "its token was not used up"


async def test_a_photo_of_a_unit_put_aside_goes_over_to_the_receipt(shop: ServedShop, dock: Desk) -> None:
    made = await parcel(shop, "NW-1")
    where = f"/receive/{made['id']}"
    for code in ("MUG", "HAT"):
        fields = forms_in(await dock.get(where))[f"{where}/scan"]
        assert (await dock.post(f"{where}/scan", {**fields, "q": code})).status_code == 303
    page = await dock.get(where)
    of_hat = re.search(r'aria-label="Photo of HAT" required form="photo-([^"]+)"', page.text)
    assert of_hat is not None
    assert (await upload(dock, page, f"/photos/of/{of_hat[1]}")).status_code == 303
    page = await dock.get(where)
    assert page.text.count('href="/photos/pho_') == 1
    done = await dock.post(f"{where}/counts", {**forms_in(page)[f"{where}/counts"], "done": "1"})
    assert done.status_code == 303, done.text
    kept = {item["id"]: item["sku"] for item in (await shop.read_return(made["id"]))["undeclared"]}
    (photo,) = await photos(shop)
    assert kept[photo.about_id or ""] == "HAT"


async def test_photos_of_customers_are_shown_on_the_return_and_to_whoever_approves(
    shop: ServedShop, desk: Desk
) -> None:
    made = await ask(shop, "NW-1")
    async with shop.db.transaction() as tx:
        photo = await factories.create_photo(tx, return_id=made["id"])
    await add_person(shop, "approver")
    await desk.sign_in("approver@shop.test")
    for path in ("/approvals", f"/returns/{made['id']}"):
        page = await desk.get(path)
        assert page.text.count(f'src="/photos/{photo.id}"') == 1, path
        assert "Photo 1 by the customer" in page.text
        assert not any(address.startswith("/photos/of/") for address in forms_in(page)), "the dock's alone"


async def test_a_parcel_of_nobody_gets_a_number_that_opens_it_again(shop: ServedShop, dock: Desk) -> None:
    page = await dock.get("/receive")
    typed = {
        "tracking_number": "1Z 999",
        "items": "MUG\n3 x TOTE\nMUG",
        "condition": "opened",
        "note": "On the box: <b>",
    }
    made = await upload(dock, page, "/parcels", **typed)
    assert made.headers["location"].endswith("?new=1")
    again = await upload(dock, page, "/parcels", **typed)
    assert again.headers["location"] == made.headers["location"], "a double click is one parcel"
    told = await follow(dock, made)
    (row,) = expect(await shop.get("/v1/receipts"), 200)["data"]
    assert is_slip_code(row["number"])
    spaced = f"{row['number'][:3]} {row['number'][3:6]} {row['number'][6:]}"
    assert f'<p class="code">{spaced}</p>' in told.text
    assert "Write this number on the parcel" in told.text
    counted = {item["sku"]: (item["quantity"], item["condition"]) for item in row["items"]}
    assert counted == {"MUG": (2, "opened"), "TOTE": (3, "opened")}
    (photo,) = await photos(shop)
    assert (photo.about_id, photo.return_id) == (row["id"], None)
    assert f'src="/photos/{photo.id}"' in told.text
    page = await dock.get("/receive")
    assert row["number"] in page.text
    for code in (row["number"], spaced):
        opened = await dock.post("/receive/open", {"q": code})
        assert opened.headers["location"] == f"/parcels/{row['id']}"
    return_id = (await approved(shop, "NW-1"))["id"]
    expect(await shop.post(f"/v1/receipts/{row['id']}/attach", {"return": return_id}), 200)
    assert (await photos(shop))[0].return_id == return_id
    receipt = expect(await shop.get(f"/v1/receipts/{row['id']}"), 200)["receipt"]
    expect(await shop.post(f"/v1/returns/{return_id}/receipts/{receipt}/reverse", {"reason": "No."}), 200)
    assert (await photos(shop))[0].return_id is None


async def test_a_parcel_without_units_or_with_a_broken_photo_loses_nothing_that_was_typed(
    shop: ServedShop, dock: Desk
) -> None:
    page = await dock.get("/receive")
    refused = await upload(dock, page, "/parcels", tracking_number="1Z 999", items=" \n", condition="new")
    assert (refused.status_code, "one unit a line" in refused.text) == (422, True)
    assert forms_in(refused)["/parcels"]["tracking_number"] == "1Z 999"
    broken = ("x.png", PNG[1][:40], "image/png")
    made = await upload(dock, refused, "/parcels", broken, items="MUG", condition="new")
    assert (made.status_code, "written down, its photo is not" in made.text) == (422, True)
    assert len(expect(await shop.get("/v1/receipts"), 200)["data"]) == 1
    large = ("x.jpg", b"\xff\xd8" + bytes(12 * 1024 * 1024), "image/jpeg")  # as phones take them
    made = await upload(dock, await dock.get("/receive"), "/parcels", large, items="MUG", condition="new")
    assert (made.status_code, "This photo is too large: up to 8 MB" in made.text) == (422, True)
    assert len(expect(await shop.get("/v1/receipts"), 200)["data"]) == 2
    assert await photos(shop) == []


async def test_photos_of_parcels_are_forgotten_with_their_order(shop: ServedShop) -> None:
    await approved(shop, "NW-1", customer_email="birgit@shop.test")
    async with shop.db.transaction() as tx:
        parcel_of_nobody = await factories.create_unmatched_receipt(tx, order_id="NW-1")
        await factories.create_photo(tx, about_id=parcel_of_nobody.id)
        await factories.create_photo(tx, about_id="rcp_another")
    done = await shop.db.run(lambda tx: erasure.forget(tx, Actor("cli"), DEFAULT, order_id="NW-1"))
    assert done.counts["photos"] == 1
    assert [photo.about_id for photo in await photos(shop)] == ["rcp_another"]


@pytest.mark.parametrize(
    "text, units",
    [
        ("MUG\r\nMUG\n\n TOTE ", {"MUG": 2, "TOTE": 1}), ("3 x MUG\n2 × MUG", {"MUG": 5}),
        ("3xl-shirt", {"3xl-shirt": 1}), ("Blue mug", {"Blue mug": 1}), ("\u200b\n \t", {}),
    ],
)  # fmt: skip
def test_each_line_is_a_unit_or_as_many_as_it_says(text: str, units: dict[str, int]) -> None:
    assert units_in(text) == Counter(units)
