"""Bytes -> upright RGB at the size the model needs.

What is not plain RGB: transparency is laid on white, like a printed page; grey of 16 bits keeps its upper 8; integers
and floats of 32 bits, which have no agreed white, are stretched from their minimum to their maximum; CMYK, palettes
and the rest go as Pillow converts them. Of several frames the first counts.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError

from t2c_search.errors import ImageError

MAX_BYTES = 1 << 30
"""Larger files are refused: one is read into memory per thread."""
MAX_PIXELS = 250_000_000
"""Larger images are refused before decoding: 750 MB as RGB; the largest phone cameras make 200 megapixels."""
MAX_ASPECT = 100
"""More elongated images are refused: models scale the shorter side, so 1 x 65,000 would grow to gigabytes."""
DRAFT_MARGIN = 2
"""A scaled JPEG keeps this many times the side that the model asks for: its own resampling must have the last word;
on photographs of 12 megapixels, the cosine of features with those of a full decoding is 0.998 at 1 and 0.9997 at 2."""

_TOO_LARGE = f"the image is larger than the limit of {MAX_PIXELS // 1_000_000} megapixels"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF")
_DRAFTED = ("JPEG", "MPO")  # MPO: a JPEG with further ones behind it, as phones make
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow's own limit of 89 megapixels warns of every large photograph; beyond twice the limit it refuses.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
pillow_heif.register_heif_opener()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """``pixels``: upright RGB, perhaps scaled down; ``width`` and ``height``: of the whole upright image."""

    pixels: Image.Image
    width: int
    height: int
    format: str
    exif: Image.Exif


def read_file(path: str | Path) -> bytes:
    """Return a file's bytes. Raises ImageError when it cannot be read, is empty or is larger than ``MAX_BYTES``."""
    try:
        with Path(path).open("rb") as file:
            check_size(os.fstat(file.fileno()).st_size)
            return file.read()
    except OSError as exc:
        renamed = "; its name is not valid UTF-8: rename the file" if "\ufffd" in str(path) else ""
        raise ImageError(f"the file cannot be read: {exc.strerror}{renamed}") from exc


def check_size(size: int) -> None:
    """Raise ImageError for an image file of no bytes, or of more than ``MAX_BYTES``."""
    if not size:
        raise ImageError("the file is empty")
    if size > MAX_BYTES:
        raise ImageError(f"the file is larger than the limit of {MAX_BYTES >> 30} GiB")


def decode_file(path: str | Path, *, decode_size: int | None = None) -> Image.Image:
    """Return a file's upright RGB image, see ``decode``. Raises ImageError."""
    return decode(read_file(path), decode_size).pixels


def decode(content: bytes, decode_size: int | None) -> DecodedImage:
    """Decode an image file's bytes to upright RGB.

    A JPEG may come scaled down by 2, 4 or 8, its shorter side still at least twice ``decode_size`` pixels: that skips
    most of the work on large photographs. None decodes in full; 0 reads the header only and decodes no pixels.

    Raises ImageError, saying what is wrong with the image.
    """
    image = _open(content)
    width, height = image.size
    pixels: Image.Image = image
    try:
        if decode_size and image.format in _DRAFTED:
            image.draft(None, (DRAFT_MARGIN * decode_size, DRAFT_MARGIN * decode_size))
        if decode_size != 0:
            image.load()
        exif, orientation = _read_exif(image)
        if decode_size != 0:
            pixels = _to_rgb(image)
            if orientation in _UPRIGHT:
                pixels = pixels.transpose(_UPRIGHT[orientation])
    except Exception as exc:  # a damaged file makes codecs raise anything, from OSError to IndexError and MemoryError
        raise ImageError(f"the image cannot be decoded: {exc or type(exc).__name__}") from exc
    if orientation >= 5:  # these turn by a quarter
        width, height = height, width
    name = "JPEG" if image.format in _DRAFTED else image.format or ""
    return DecodedImage(pixels, width, height, name, exif)


def _open(content: bytes) -> Image.Image:
    """Read the header and check what it promises."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as exc:
        raise ImageError(f"not an image of a known format ({', '.join(FORMATS)})") from exc
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise ImageError(_TOO_LARGE) from exc
    except Exception as exc:  # as above
        raise ImageError(f"the image's header is damaged: {exc or type(exc).__name__}") from exc
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(_TOO_LARGE)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{width} x {height} pixels are more elongated than the limit of {MAX_ASPECT} to 1")
    return image


def _read_exif(image: Image.Image) -> tuple[Image.Exif, int]:
    """Return the EXIF tags and the orientation, 1 to 8, that is still to be undone; broken EXIF counts as none."""
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION, 1)
    except Exception:  # EXIF in the wild is broken in every way; it never costs an image
        return Image.Exif(), 1
    if image.format == "TIFF" or orientation not in _UPRIGHT:  # Pillow turns TIFF upright itself
        return exif, 1
    return exif, orientation


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretch(np.asarray(image, np.float64))).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image


def _stretch(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Map (h, w) finite values linearly onto 0 to 255."""
    values = np.nan_to_num(values, posinf=0, neginf=0)
    low, high = values.min(), values.max()
    return np.asarray((values - low) * (255 / (high - low) if high > low else 0), np.uint8)
