"""Images that a program holds itself: as a path, an image file's bytes, an image of Pillow or an array."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from t2c_search.decoding.decode import MAX_ASPECT
from t2c_search.decoding.exif import read_exif, upright
from t2c_search.decoding.rgb import to_rgb
from t2c_search.errors import ImageError, UsageError

Pixels = Image.Image | npt.NDArray[np.uint8]
GivenImage = str | Path | bytes | Pixels
"""A path or address, the bytes of an image file, an image of Pillow, or an array (h, w), (h, w, 3) or (h, w, 4) of uint8."""

_EXPECTED = (
    "expected a path, an image file's bytes, an image of Pillow, or an array (h, w), (h, w, 3) or (h, w, 4) of uint8"
)


def as_image(name: str, given: Any) -> GivenImage:
    """Return an image that is one. Raises UsageError for what is none, and for an array of another shape or type."""
    if isinstance(given, bytearray | memoryview):
        return bytes(given)
    if isinstance(given, np.ndarray):
        channels = given.shape[2:]
        if given.dtype != np.uint8 or given.ndim not in (2, 3) or channels not in ((), (3,), (4,)) or not given.size:
            raise UsageError(f"{name} is an array {given.shape} of {given.dtype}: {_EXPECTED}")
    elif not isinstance(given, str | Path | bytes | Image.Image):
        raise UsageError(f"{name} is {reprlib.repr(given)}: {_EXPECTED}")
    return cast("GivenImage", given)


def as_images(name: str, given: GivenImage | Iterable[GivenImage]) -> list[GivenImage]:
    """Return images as a list; a single one is a list of one. Raises UsageError as ``as_image``."""
    single = isinstance(given, str | Path | bytes | bytearray | memoryview | Image.Image | np.ndarray)
    items = [given] if single or not isinstance(given, Iterable) else list(given)
    return [as_image(name, item) for item in items]


def pixels_of(image: Pixels, decode_size: int | None) -> Image.Image:
    """Return upright RGB, as ``decode`` returns that of a file. Raises ImageError when there are no pixels to be had."""
    try:
        opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
        if max(opened.size) > MAX_ASPECT * min(opened.size):
            raise ImageError(
                f"{opened.width} x {opened.height} pixels: expected no more than {MAX_ASPECT} to 1, and no less than 1"
            )
        opened.load()
        return upright(to_rgb(opened, decode_size), read_exif(opened)[1])
    except ImageError:
        raise
    except Exception as exc:  # a damaged file behind an image makes codecs raise anything
        raise ImageError(f"the image cannot be decoded: {exc or type(exc).__name__}") from exc
