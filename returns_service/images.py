"""Photos of strangers made harmless: decoded, turned upright and encoded anew, so that only the picture is left.

What a camera wrote beside it (place, name, device) is gone, and so is whatever hid behind the picture's bytes.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Final, Literal

LONGEST_PHOTO_BYTES: Final = 8 * 1024 * 1024
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_MOST_PIXELS: Final = 50_000_000  # more than any phone takes; a small file may claim a billion
_LONGEST_SIDE: Final = 2000  # pixels: a scratch is still seen, and a photo takes some 400 kB
_QUALITY: Final = 82
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
    from PIL import Image, ImageOps, UnidentifiedImageError  # most processes never need it

    if len(content) > LONGEST_PHOTO_BYTES:
        raise PhotoRefused("too_large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    raise PhotoRefused("too_large")
                picture.draft("RGB", (_LONGEST_SIDE, _LONGEST_SIDE))
                upright = ImageOps.exif_transpose(picture).convert("RGB")
    except UnidentifiedImageError:
        raise PhotoRefused("wrong_type") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PhotoRefused("too_large") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise for a broken file
        if isinstance(error, PhotoRefused):
            raise
        raise PhotoRefused("unreadable") from None
    upright.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    out = io.BytesIO()
    upright.save(out, "WEBP", quality=_QUALITY, exif=b"", xmp=b"", icc_profile=b"")
    return CleanPhoto(out.getvalue(), upright.width, upright.height)
