"""The portal's photos: encoded anew, shown to staff alone, bounded in size, number and room."""

from __future__ import annotations

import pytest
from PIL import Image
from sqlmodel import select

from returns_service.images import CleanPhoto
from returns_service.store.tables import Photo, PortalSession
from tests.harness.served_shop import ServedShop
from tests.pages.conftest import Desk, add_person, open_desk
from tests.pages.forms import forms_in
from tests.pages.portal import offer, path_of, picture, returns_of, send_back, tick
from tests.pages.test_portal import PICK


async def test_photos_are_kept_clean_and_shown_to_staff_alone(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop))
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    files = [
        ("photo:1", ("damage.jpg", picture(exif=exif), "image/jpeg")),
        ("photo:1", ("two.png", picture("PNG"), "image/png")),
    ]
    answer = await tick(desk, path, files=files, pick=["1"], r1="damaged")
    assert answer.status_code == 303
    page = await desk.get(path)
    assert "<bdi>2</bdi> photos kept" in page.text
    assert (await send_back(desk, path, pick=["1"], r1="damaged")).status_code == 303
    (made,) = await returns_of(shop)
    async with shop.db.reading() as tx:
        photos = (await tx.exec(select(Photo))).all()
    assert [(photo.return_id, photo.line, photo.media_type) for photo in photos] == [(made["id"], 1, "image/webp")] * 2
    assert not any(b"SECRET-CAMERA" in photo.content for photo in photos)
    address = f"/photos/{photos[0].id}"
    assert (await desk.get(address)).status_code == 303, "not the customer, who has no account"
    async with open_desk(shop) as staff:
        await add_person(shop, "approver")
        await staff.sign_in("approver@shop.test")
        shown = await staff.get(address)
    assert (shown.status_code, shown.headers["content-type"], shown.content) == (200, "image/webp", photos[0].content)
    assert "sandbox" in shown.headers["content-security-policy"]


FILES = {
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "is no photo"),
    "text": (b"GIF89a" + b"x" * 50, "is no photo"),
    "cut": (picture(size=(800, 800))[:300], "is damaged"),
    "too large": (picture() + b"\0" * 8 * 1024 * 1024, "8 MB"),
    "gif": (picture("GIF"), "is no photo"),
    "bomb": (picture("PNG", (9000, 9000)), "8 MB"),
}


@pytest.mark.parametrize("kind", FILES)
async def test_a_file_that_is_no_photo_is_said_at_its_item_and_the_rest_is_kept(
    shop: ServedShop, desk: Desk, kind: str
) -> None:
    content, says = FILES[kind]
    path = path_of(await offer(shop))
    files = {"photo:1": ("<b>damage.jpg", content, "image/jpeg")}
    answer = await tick(desk, path, "send", files=files, pick=["1"], r1="damaged")
    assert answer.status_code == 422
    assert says in answer.text
    assert "&lt;b&gt;damage.jpg" in answer.text.partition('<div id="pe1"')[2].partition("</div>")[0], (
        "where it is chosen"
    )
    async with shop.db.reading() as tx:
        assert (await tx.exec(select(Photo))).all() == []
        (row,) = (await tx.exec(select(PortalSession))).all()
    assert row.picks == [PICK]


async def test_no_more_photos_are_decoded_than_a_link_has_room_for(
    shop: ServedShop, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form may bring a thousand small files that each take seconds and a hundred megabytes."""
    decoded = []

    def count(content: bytes) -> CleanPhoto:
        decoded.append(content)
        return CleanPhoto(b"kept", 1, 1)

    monkeypatch.setattr("returns_service.web.pages.portal.clean_photo", count)
    path = path_of(await offer(shop))
    for sent, kept in ((7, 7), (20, 12), (3, 12)):
        files = [(f"photo:{n % 2}", (f"{n}.png", b"x", "image/png")) for n in range(sent)]
        answer = await tick(desk, path, files=files, pick="1")
        assert (answer.status_code, len(decoded)) == (303 if sent == kept else 422, kept)


async def test_forty_megabytes_are_refused_with_a_page_that_says_what_to_do(shop: ServedShop, desk: Desk) -> None:
    path = path_of(await offer(shop, locale="de"))
    await tick(desk, path, pick=["1"], r1="damaged")
    files = {"photo:1": ("big.jpg", b"\0" * 40 * 1024 * 1024, "image/jpeg")}
    answer = await tick(desk, path, files=files, pick=["1"], r1="damaged")
    assert answer.status_code == 413
    assert "8 MB" in answer.text
    page = await desk.get(path)
    assert forms_in(page)[path]["reason:1"] == "damaged", "what was ticked before is kept"


async def test_photos_take_no_more_room_than_is_set(shop: ServedShop, desk: Desk) -> None:
    shop.context.settings = shop.context.settings.model_copy(update={"photo_storage_mb": 0})
    path = path_of(await offer(shop))
    assert 'type="file"' not in (await desk.get(path)).text
    files = {"photo:1": ("a.png", picture("PNG"), "image/png")}
    answer = await tick(desk, path, files=files, pick=["1"], r1="damaged")
    assert answer.status_code == 422
    assert "can’t keep more photos" in answer.text
    shop.context.settings = shop.context.settings.model_copy(update={"photo_storage_mb": 1})
    many = [("photo:1", (f"{n}.png", picture("PNG"), "image/png")) for n in range(14)]
    assert (await tick(desk, path, files=many, pick=["1"], r1="damaged")).status_code == 422
    async with shop.db.reading() as tx:
        assert len((await tx.exec(select(Photo))).all()) == 12
    page = await desk.get(path)
    assert (await tick(desk, path, page=page, pick=["1"], r1="damaged", remove="1")).status_code == 303
    async with shop.db.reading() as tx:
        assert (await tx.exec(select(Photo))).all() == []
