"""Photos of strangers: whatever stands beside the picture, the picture is kept, upright; and none takes much memory."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from returns_service import images
from returns_service.images import PhotoRefused, clean_photo


def photo(kind: str = "JPEG", exif: bytes = b"", size: tuple[int, int] = (60, 40)) -> bytes:
    """Return a photo whose upper left corner is red."""
    picture = Image.new("RGB", size, "#ffffff")
    picture.paste("#ff0000", (0, 0, size[0] // 2, size[1] // 2))
    out = io.BytesIO()
    picture.save(out, kind, exif=exif)
    return out.getvalue()


def tags(*entries: tuple[int, int, bytes]) -> bytes:
    """Return EXIF of these tags, each of one value: number, type, the value's four bytes."""
    directory = b"".join(struct.pack("<HHI", number, kind, 1) + value for number, kind, value in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)


TURNED = (0x0112, 3, struct.pack("<HH", 6, 0))  # by a quarter, clockwise
DATE_AS_A_NUMBER = (0x0132, 11, struct.pack("<f", 1.5))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("beside", [[], [DATE_AS_A_NUMBER]], ids=["plain", "broken"])
def test_a_photo_is_kept_upright_whatever_its_other_tags_say(kind: str, beside: list[tuple[int, int, bytes]]) -> None:
    """Pillow reads tags that it can't write again: they are not worth a customer's form."""
    kept = clean_photo(photo(kind, tags(TURNED, *beside)))
    assert (kept.width, kept.height) == (40, 60)
    with Image.open(io.BytesIO(kept.content)) as shown:
        assert not shown.getexif()
        corner = shown.convert("RGB").getpixel((35, 5))
    assert isinstance(corner, tuple)
    assert corner[0] > 200
    assert corner[1] < 100


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"nonsense" * 9])
def test_a_photo_whose_tags_cant_be_read_is_kept_as_it_is(exif: bytes) -> None:
    assert clean_photo(photo(exif=exif)).width == 60


def test_a_large_one_is_shrunk_and_a_webp_may_have_fewer_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripped to what the decoder takes: a file of 90 kB may be a picture of a gigabyte."""
    monkeypatch.setattr(images, "_MOST_PIXELS_OF_WEBP", 2399)
    with pytest.raises(PhotoRefused) as refused:
        clean_photo(photo("WEBP"))
    assert refused.value.fault == "too_large"
    kept = clean_photo(photo("PNG", size=(4000, 2000)))
    assert (kept.width, kept.height) == (2000, 1000)
