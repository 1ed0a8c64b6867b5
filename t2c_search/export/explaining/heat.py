"""Heat over an image: what speaks for something and against it, by colour, strength and outline.

Colours alone would not do: orange and blue are told apart by whoever sees no red or no green, and on paper without colours
orange is the lighter one, with an outline drawn through, and blue the darker one, with a dashed outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from t2c_search.explain.view import View
    from t2c_search.types import FloatArray

FOR, AGAINST = "#ff9a1f", "#1d4f91"
_OUTLINES = "#3a2100", "#ffffff"  # of what speaks for and against
_OUTLINED = 0.5  # of the scale: what is stronger lies within an outline
_STRONGEST = 0.9  # opacity at the scale's end
_FAINT = 0.06  # of the scale: what is weaker stays as it is, or noise would tint the whole image
_FINE = 2  # pixels drawn for each pixel of an outline, which is then scaled down
_DASH = 7  # pixels

Pixels = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """A map (rows, columns), where it lies on an image, and the ``scale`` at which its colours are strongest.

    What speaks for something is outlined where the ``claim`` (rows, columns), on the same scale, is strong.
    """

    values: FloatArray
    view: View
    scale: float
    claim: FloatArray


def heated(image: Image.Image, heat: Heat) -> Image.Image:
    """Lay a map over an upright RGB image, whose own colours go; what lies outside of the map's view is pale."""
    told = _spread(heat, heat.values, image.size)
    grey = np.asarray(image.convert("L"), np.float64)[..., None] / 255
    seen = np.isfinite(told)[..., None]
    paper = np.where(seen, 0.38 + 0.6 * grey, 0.7 + 0.25 * grey)
    strength = np.nan_to_num(told)[..., None]
    opacity = _STRONGEST * np.clip((np.abs(strength) - _FAINT) / (1 - _FAINT), 0, 1) ** 0.6
    colour = np.where(strength > 0, rgb(FOR), rgb(AGAINST)) * (0.85 + 0.15 * grey)
    mixed = paper * (1 - opacity) + colour * opacity
    shown = Image.fromarray(np.round(255 * mixed.clip(0, 1)).astype(np.uint8))
    return _outlined(shown, np.ma.masked_invalid(_spread(heat, heat.claim, image.size)), np.ma.masked_invalid(told))


def rgb(colour: str) -> Pixels:
    """Return a colour ``#rrggbb`` as three numbers from 0 to 1."""
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def tint(share: float) -> str:
    """Return the colour ``#rrggbb`` that a share of the scale, from -1 to 1, has on white paper."""
    opacity = _STRONGEST * min(abs(share), 1.0)
    mixed = 1 - opacity + opacity * rgb(FOR if share > 0 else AGAINST)
    return "#" + "".join(f"{round(255 * each):02x}" for each in mixed)


def _spread(heat: Heat, values: FloatArray, size: tuple[int, int]) -> Pixels:
    """Enlarge a map or a claim to an image's pixels, in shares of its scale; NaN where the model did not see the image."""
    width, height = size
    left, right = round(heat.view.left * width), round(heat.view.right * width)
    top, bottom = round(heat.view.top * height), round(heat.view.bottom * height)
    spread = np.full((height, width), np.nan)
    if right > left and bottom > top:
        small = Image.fromarray((values / (heat.scale or 1.0)).astype(np.float32))
        large = np.asarray(small.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
        window = np.s_[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        spread[window] = large[max(-top, 0) :, max(-left, 0) :][: spread[window].shape[0], : spread[window].shape[1]]
    return spread


def _outlined(image: Image.Image, claim: Pixels, strength: Pixels) -> Image.Image:
    from contourpy import contour_generator

    large = image.resize((image.width * _FINE, image.height * _FINE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(large)
    levels = ((claim, _OUTLINED, _OUTLINES[0], False), (strength, -_OUTLINED, _OUTLINES[1], True))
    for values, level, colour, dashed in levels:
        for line in contour_generator(z=values).lines(level):
            points = [tuple((point + 0.5) * _FINE) for point in np.asarray(line)]
            for part in _dashes(points) if dashed else [points]:
                draw.line(part, fill=colour, width=_FINE + 1, joint="curve")
    return large.resize(image.size, Image.Resampling.BOX)


def _dashes(points: list[tuple[float, ...]]) -> list[list[tuple[float, ...]]]:
    """Cut a line into dashes with gaps of the same length."""
    steps = np.hypot(*np.diff(np.array(points), axis=0).T)
    at = np.concatenate([[0], np.cumsum(steps)]) // (_DASH * _FINE)
    return [
        part
        for number in range(0, int(at[-1]) + 1, 2)
        if len(part := [point for point, dash in zip(points, at, strict=True) if dash == number]) > 1
    ]
