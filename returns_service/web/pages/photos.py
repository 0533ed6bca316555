"""Photos, for staff alone: shown by their ids, which say nothing of whose they are; and taken at the dock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from litestar import Response
from litestar.datastructures import UploadFile

from returns_service.commands.photos import add_photo
from returns_service.domain.problems import Problem
from returns_service.domain.roles import RECEIVE
from returns_service.images import LONGEST_PHOTO_BYTES, CleanPhoto, PhotoFault, PhotoRefused, clean_photo
from returns_service.store.tables import Photo
from returns_service.web.pages.forms import ONCE, checked_once, next_of, wrong_field
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
    "Content-Disposition": "inline",
}
FIELD: Final = "photo"
# More than one photo may have: a form that brings too large a one is read, so that what was typed beside it is kept.
LONGEST_PHOTO_FORM_BYTES: Final = 4 * LONGEST_PHOTO_BYTES
REFUSED: Final[Mapping[PhotoFault, str]] = {
    "too_large": "This photo is too large: up to 8 MB and 50 megapixels (WebP: 20). Send a smaller one.",
    "wrong_type": "This is no photo we can read: send a JPEG, PNG or WebP.",
    "unreadable": "This photo is broken: take it again.",
}


@shows("/photos/{photo_id:str}")
async def show_photo(call: PageCall) -> Response[Any]:
    """Return one photo. Raises Problem not_found."""
    async with call.context.database.reading() as tx:
        photo = await tx.get(Photo, call.path("photo_id"))
    if photo is None:
        raise Problem("not_found", "There is no such photo.")
    return Response(photo.content, media_type=photo.media_type, headers=HEADERS)


@posts("/photos/of/{about_id:str}", scope=RECEIVE, longest_bytes=LONGEST_PHOTO_FORM_BYTES)
async def take_photo(call: PageCall) -> Response[Any]:
    """Keep a photo of what the dock has in its hands. Raises Problem."""
    files = call.files.get(FIELD)
    if not files:
        raise wrong_field(FIELD, "Choose a photo first.")
    await keep_photo(call, call.path("about_id"), files[0], checked_once(call.field(ONCE)))
    return redirect(next_of(call, "/receive"))


async def keep_photo(call: PageCall, about_id: str, file: UploadFile, once: str) -> None:
    """Keep an uploaded photo of a thing of the dock, once. Raises Problem for one that can't be kept."""
    try:
        photo = await _clean(call, file)
    except PhotoRefused as refused:
        raise wrong_field(FIELD, REFUSED[refused.fault]) from None
    room = call.context.settings.photo_storage_mb
    await call.context.database.run(lambda tx: add_photo(tx, call.by, about_id, photo, once, storage_mb=room))


async def _clean(call: PageCall, file: UploadFile) -> CleanPhoto:
    async with call.context.photo_slots:
        content = await file.read(LONGEST_PHOTO_BYTES + 1)
        return await asyncio.to_thread(clean_photo, content)


PAGES: Final[tuple[Page, ...]] = (show_photo, take_photo)
