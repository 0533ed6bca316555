"""A shop's colour made readable: text in it, and text on it, reach the contrast that WCAG 2.2 asks for (1.4.3).

https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
"""

from __future__ import annotations

LEAST_CONTRAST = 4.5  # of text of any size
_STEPS = 100  # from the colour to black or white


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def readable_on(colour: str, background: str) -> str:
    """Return the colour, darkened or lightened no more than it takes to be read on the background."""
    target = "#000000" if _luminance(background) > _luminance("#777777") else "#ffffff"
    for step in range(_STEPS + 1):
        mixed = mix(colour, target, step / _STEPS)
        if contrast(mixed, background) >= LEAST_CONTRAST:
            return mixed
    return target


def text_on(colour: str) -> str:
    """Return black or white, whichever is read better on the colour; one of them always is."""
    return max(("#ffffff", "#000000"), key=lambda text: contrast(text, colour))


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel / 255) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def mix(colour: str, target: str, share: float) -> str:
    """Return the colour with a share (0 to 1) of the way gone to the target."""
    pairs = zip(_channels(colour), _channels(target), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * share):02x}" for one, other in pairs)
