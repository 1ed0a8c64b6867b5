"""Thumbnails of images wherever they are, for sheets and pages."""

from __future__ import annotations

from PIL import Image, ImageOps

from t2c_search.decoding.decode import decode
from t2c_search.sources import read_image


def thumbnail(path: str, side: int) -> Image.Image:
    """Return an image, upright RGB, fitted into a square of ``side`` pixels.

    Raises ImageError where it is gone or cannot be read, another T2CError where a package for reading it is missing.
    """
    return ImageOps.contain(decode(read_image(path), side).pixels, (side, side))
