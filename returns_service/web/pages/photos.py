"""Customers' photos, for staff alone."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from returns_service.domain.problems import Problem
from returns_service.store.tables import Photo
from returns_service.web.pages.page import Page, PageCall, shows

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
    "Content-Disposition": "inline",
}


@shows("/photos/{photo_id:str}")
async def show_photo(call: PageCall) -> Response[Any]:
    """Return one photo. Raises Problem not_found."""
    async with call.context.database.reading() as tx:
        photo = await tx.get(Photo, call.path("photo_id"))
    if photo is None:
        raise Problem("not_found", "There is no such photo.")
    return Response(photo.content, media_type=photo.media_type, headers=HEADERS)


PAGES: Final[tuple[Page, ...]] = (show_photo,)
