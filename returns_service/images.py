"""Photos of strangers made harmless: decoded, turned upright and encoded anew, so that only the picture is left.

What a camera wrote beside it (place, name, device) is gone, and so is whatever hid behind the picture's bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from PIL import Image

LONGEST_PHOTO_BYTES: Final = 8 * 1024 * 1024
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_MOST_PIXELS: Final = 50_000_000  # more than any phone takes; a small file may claim a billion
_MOST_PIXELS_OF_WEBP: Final = 20_000_000  # its decoder takes 15 bytes for each, the others' 4, or 8 with transparency
_LONGEST_SIDE: Final = 2000  # pixels: a scratch is still seen, and a photo takes some 400 kB
_QUALITY: Final = 82
_TURNS: Final = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}  # Pillow's name, by EXIF's word for how the camera was held
PhotoFault = Literal["too_large", "wrong_type", "unreadable"]


class PhotoRefused(ValueError):
    """A file that can't be kept as a photo; `fault` says why."""

    def __init__(self, fault: PhotoFault) -> None:
        super().__init__(fault)
        self.fault: PhotoFault = fault


@dataclass(frozen=True, slots=True)
class CleanPhoto:
    """A photo as it is kept: WebP without metadata. Sides are pixels."""

    content: bytes
    width: int
    height: int
    media_type: str = "image/webp"


def clean_photo(content: bytes) -> CleanPhoto:
    """Return a JPEG, PNG or WebP file as it is kept. Takes a core for a while. Raises PhotoRefused."""
    from PIL import Image, UnidentifiedImageError  # most processes never need it

    if len(content) > LONGEST_PHOTO_BYTES:
        raise PhotoRefused("too_large")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
            if opened.width * opened.height > (_MOST_PIXELS_OF_WEBP if opened.format == "WEBP" else _MOST_PIXELS):
                raise PhotoRefused("too_large")
            opened.draft("RGB", (_LONGEST_SIDE, _LONGEST_SIDE))
            whole = opened if opened.mode in ("RGB", "L") else opened.convert("RGB")
            whole.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))  # first of all: each copy of the whole takes 200 MB
            upright = _turn_upright(whole.convert("RGB"), opened)
    except UnidentifiedImageError:
        raise PhotoRefused("wrong_type") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PhotoRefused("too_large") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise for a broken file
        if isinstance(error, PhotoRefused):
            raise
        raise PhotoRefused("unreadable") from None
    out = io.BytesIO()
    upright.save(out, "WEBP", quality=_QUALITY, exif=b"", xmp=b"", icc_profile=b"")
    return CleanPhoto(out.getvalue(), upright.width, upright.height)


def _turn_upright(picture: Image.Image, opened: Image.Image) -> Image.Image:
    """Return a picture as the camera that took it was held: EXIF's tag 274, which some write after the picture."""
    from PIL import ExifTags, Image

    try:
        said = opened.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - Pillow raises whatever a broken tag leads it to; the picture is there all the same
        said = None
    turn = _TURNS.get(said) if isinstance(said, int) else None
    return picture if turn is None else picture.transpose(Image.Transpose[turn])
