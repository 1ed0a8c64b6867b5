"""Bytes -> upright RGB at the size the model needs.

What is not plain RGB: transparency is laid on white, like a printed page; grey of 16 bits keeps its upper 8; integers
and floats of 32 bits, which have no agreed white, are stretched from their minimum to their maximum; CMYK, palettes
and the rest go as Pillow converts them. Of several frames the first counts.
"""

from __future__ import annotations

import errno
import io
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError, features

from t2c_search.errors import ImageError

MAX_BYTES = 1 << 30
"""Larger files are refused: one is read into memory per thread."""
MAX_PIXELS = 250_000_000
"""Larger images are refused before decoding: Pillow takes 1 GB for one; the largest phone cameras make 200 megapixels."""
MAX_ASPECT = 100
"""More elongated images are refused: models scale the shorter side, so 1 x 65,000 would grow to gigabytes."""
DRAFT_MARGIN = 2
"""A scaled JPEG keeps this many times the side that the model asks for: its own resampling must have the last word;
on photographs of 12 megapixels, the cosine of features with those of a full decoding is 0.998 at 1 and 0.9997 at 2."""
LARGE_PIXELS = 64_000_000
"""Larger images are averaged down to fewer, and near the size that the model needs: what comes after decoding, such as
laying on white, would take a gigabyte for each copy. The largest full-frame cameras make 61 megapixels."""

_BAND_PIXELS = 1_000_000  # of a large image, converted at once: 4 MB, which caches hold
_PIXEL_LIMITS = {"WEBP": 100_000_000, "AVIF": 150_000_000}  # their codecs take 16 and 9 bytes a pixel, others 4 to 8
_AVIF = ("AVIF",) if "avif" in features.modules and features.check("avif") else ()  # with Pillow 11.3 or later
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *_AVIF, "HEIF")  # HEIF would take AVIF, and cannot decode it
_SCANNED_PIXELS = 5_000_000_000  # some seconds' work; a progressive JPEG goes over its pixels about 10 times
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a JPEG, those with nothing behind them left out
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_STRETCHED = ("I", "F")  # modes without an agreed white
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


def open_local(path: str | Path) -> BinaryIO:
    """Open a local file for reading. Raises OSError, for pipes and devices too: their reader may wait for ever."""
    return open(path, "rb", opener=_open_regular)  # Path.open() takes no opener


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # or a pipe would wait here for its writer
    mode = os.fstat(descriptor).st_mode
    if S_ISREG(mode) or S_ISDIR(mode):  # of folders, open() says so itself
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file")


def read_file(path: str | Path) -> bytes:
    """Return a file's bytes. Raises ImageError when it cannot be read, is empty or is larger than ``MAX_BYTES``."""
    try:
        with open_local(path) as file:
            check_size(os.fstat(file.fileno()).st_size)
            return file.read()
    except ImageError:
        raise
    except OSError as exc:
        renamed = "; its name is not valid UTF-8: rename the file" if "\ufffd" in str(path) else ""
        raise ImageError(f"the file cannot be read: {exc.strerror}{renamed}") from exc
    except ValueError as exc:
        raise ImageError(f"the file cannot be read: its name is none that files can have: {exc}") from exc


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
    Whatever the format, what has more than ``LARGE_PIXELS`` comes scaled down to less.

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
            pixels = _large_to_rgb(image, decode_size) if math.prod(image.size) > LARGE_PIXELS else _to_rgb(image)
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
        raise ImageError(_too_large(MAX_PIXELS)) from exc
    except Exception as exc:  # as above
        raise ImageError(f"the image's header is damaged: {exc or type(exc).__name__}") from exc
    width, height = image.size
    if width * height > (limit := _PIXEL_LIMITS.get(image.format or "", MAX_PIXELS)):
        raise ImageError(_too_large(limit))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{width} x {height} pixels are more elongated than the limit of {MAX_ASPECT} to 1")
    most = _SCANNED_PIXELS // max(1, width * height)
    if image.format in _DRAFTED and content.count(_SCAN) > most and _count_scans(content) > most:
        raise ImageError(f"its pixels are stored in more than {most} scans, the limit for a JPEG of its size")
    return image


def _count_scans(content: bytes) -> int:
    """Return how often a JPEG goes over its pixels; what follows its end, such as a phone's video, does not count."""
    scans = place = 0
    while (marker := _MARKER.search(content, place)) and marker[0] != _END:
        scans += marker[0] == _SCAN
        place = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    return scans


def _too_large(limit: int) -> str:
    return f"the image is larger than the limit of {limit // 1_000_000} megapixels"


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


def _large_to_rgb(image: Image.Image, decode_size: int | None) -> Image.Image:
    """Return RGB of whole squares of pixels averaged, made band by band lest there be copies of the large image."""
    width, height = image.size
    factor = math.ceil(math.sqrt(width * height / LARGE_PIXELS))
    if decode_size:
        factor = max(factor, min(width, height) // (DRAFT_MARGIN * decode_size))
    if image.mode in _STRETCHED:  # by the lowest and highest value of all bands
        return _to_rgb(image.reduce(factor))
    small = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
    rows = factor * max(1, _BAND_PIXELS // (width * factor))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        small.paste(_to_rgb(band).reduce(factor), (0, top // factor))
    return small


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in _STRETCHED:
        return Image.fromarray(_stretch(np.array(image, np.float64))).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image


def _stretch(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Map (h, w) values linearly onto 0 to 255, in place: they may take half a gigabyte; what is not finite counts as 0."""
    np.nan_to_num(values, copy=False, posinf=0, neginf=0)
    low, high = values.min(), values.max()
    values -= low
    values *= 255 / (high - low) if high > low else 0
    return values.astype(np.uint8)
