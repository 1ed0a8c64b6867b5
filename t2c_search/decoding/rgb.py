"""Pixels of any kind -> RGB, and images too large to be copied -> smaller ones.

Transparency is laid on white, like a printed page. Grey in files of 16 bits keeps the upper 8 of those that it uses, 8, 10,
12, 14 or 16 by its largest value: cameras and scanners store 12 bits so. Integers and floats of 32 bits, which have no
agreed white, are stretched from their minimum to their maximum. CMYK, palettes and the rest go as Pillow converts them.
"""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
from PIL import Image

DRAFT_MARGIN = 2
"""A scaled JPEG keeps this many times the side that the model asks for: its own resampling must have the last word;
on photographs of 12 megapixels, the cosine of features with those of a full decoding is 0.998 at 1 and 0.9997 at 2."""
LARGE_PIXELS = 64_000_000
"""Larger images are averaged down to fewer, and near the size that the model needs: what comes after decoding, such as
laying on white, would take a gigabyte for each copy. The largest full-frame cameras make 61 megapixels."""

_BAND_PIXELS = 1_000_000  # of a large image, converted at once: 4 MB, which caches hold
_STRETCHED = ("I", "F")  # modes without an agreed white
_DEEP = "I;16"  # how the modes of grey in 16 bits begin
_DEPTHS = (8, 10, 12, 14, 16)  # bits that such grey may use
_NO_DATA = 42113  # tag of a TIFF: the value of pixels that were not measured, as GDAL writes it


def to_rgb(image: Image.Image, decode_size: int | None) -> Image.Image:
    """Return a loaded image as RGB; one of more than ``LARGE_PIXELS`` scaled down, near what ``decode_size`` asks for."""
    return _averaged(image, decode_size) if math.prod(image.size) > LARGE_PIXELS else _converted(image)


def _averaged(image: Image.Image, decode_size: int | None) -> Image.Image:
    """Return RGB of whole squares of pixels averaged, made band by band lest there be copies of the large image."""
    width, height = image.size
    factor = math.ceil(math.sqrt(width * height / LARGE_PIXELS))
    if decode_size is not None:
        factor = max(factor, min(width, height) // (DRAFT_MARGIN * decode_size))
    if image.mode in _STRETCHED:  # by the lowest and highest value of all bands
        return _converted(image.reduce(factor))
    depth = _depth(image)
    small = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
    rows = factor * max(1, _BAND_PIXELS // (width * factor))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        small.paste(_converted(band, depth).reduce(factor), (0, top // factor))
    return small


def _converted(image: Image.Image, depth: int | None = None) -> Image.Image:
    """Return RGB; ``depth`` says how many bits of 16 are used, where the image is a part of another."""
    if image.mode.startswith(_DEEP):
        upper = np.asarray(image) >> ((depth or _depth(image)) - 8)
        return Image.fromarray(upper.astype(np.uint8)).convert("RGB")
    if image.mode in _STRETCHED:
        return Image.fromarray(_stretch(np.array(image, np.float64), _missing(image))).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image


def _depth(image: Image.Image) -> int:
    """Return how many bits a grey image of 16 bits uses; those of its largest value, and 8 for other images."""
    if not image.mode.startswith(_DEEP):
        return 8
    rows = max(1, _BAND_PIXELS // image.width)
    bands = (image.crop((0, top, image.width, min(top + rows, image.height))) for top in range(0, image.height, rows))
    used = max(int(np.asarray(band).max()) for band in bands).bit_length()
    return next(depth for depth in _DEPTHS if depth >= used)


def _missing(image: Image.Image) -> float:
    """Return the value of pixels that were not measured, NaN where the file names none."""
    with suppress(ValueError, TypeError):
        return float(str(getattr(image, "tag_v2", {}).get(_NO_DATA)).strip("\0 "))
    return math.nan


def _stretch(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], missing: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Map (h, w) values linearly onto 0 to 255, in place: they may take half a gigabyte.

    What is not finite, or ``missing``, has no say in what is black and white: it is black, and plus infinity white.
    """
    values[values == missing] = np.nan
    measured = np.isfinite(values)
    low, high = values.min(where=measured, initial=np.inf), values.max(where=measured, initial=-np.inf)
    if low > high:  # nothing is
        low = high = np.float64(0)
    np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    values -= low
    values *= 255 / (high - low) if high > low else 0
    return values.astype(np.uint8)
