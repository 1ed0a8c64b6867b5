"""Which part of an image a model sees: its preprocessing turned round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    from t2c_search.encoders.protocols import PixelEncoder

_SAME = 0.02  # of the way from black to white: what differs by less is the same


@dataclass(frozen=True, slots=True)
class View:
    """The rectangle over which a model's grid of places lies, in shares of the upright image's width and height.

    It is smaller than the image (0, 0, 1, 1) where the preprocessing crops, and reaches beyond where it pads.
    """

    left: float
    top: float
    right: float
    bottom: float


WHOLE = View(0.0, 0.0, 1.0, 1.0)


def view_of(encoder: PixelEncoder, size: tuple[int, int]) -> View:
    """Return which part of an upright image of a ``size`` (width, height) an encoder sees.

    Found by having it prepare pictures of that size that brighten from left to right, and from top to bottom, so that it holds
    whatever the preprocessing is made of, as long as it scales, crops and pads. Turned images are not told from upright ones.
    """
    width, height = size
    ramps = [np.round(np.arange(0.5, side) * (255 / side)).astype(np.uint8) for side in size]
    levels = (np.uint8(0), np.uint8(255), ramps[0], ramps[1][:, None])
    black, white, x, y = (_seen(encoder, np.broadcast_to(level, (height, width))) for level in levels)
    span = white - black
    shown = span > _SAME * span.max()
    left, right = _ends((x - black) / np.where(shown, span, 1), shown, axis=1)
    top, bottom = _ends((y - black) / np.where(shown, span, 1), shown, axis=0)
    return View(left, top, right, bottom)


def _seen(encoder: PixelEncoder, levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return what an encoder makes of a grey picture, (rows, columns)."""
    picture = Image.fromarray(levels).convert("RGB")
    prepared: npt.NDArray[np.float64] = encoder.prepare(picture).numpy().astype(np.float64).mean(axis=0)
    return prepared


def _ends(places: npt.NDArray[np.float64], shown: npt.NDArray[np.bool_], axis: int) -> tuple[float, float]:
    """Return the places in the image, from 0 to 1, at which the pixels begin and end along an axis."""
    pixels = np.broadcast_to(np.expand_dims(np.arange(0.5, shown.shape[axis]), 1 - axis), shown.shape)
    slope, first = np.polyfit(pixels[shown], places[shown], 1)
    return float(first), float(first + slope * shown.shape[axis])
