"""Bytes -> upright RGB at the size the model needs.

Of several frames the first counts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pillow_heif
from PIL import Image, UnidentifiedImageError, features

from t2c_search.decoding.exif import read_exif, upright
from t2c_search.decoding.files import read_file
from t2c_search.decoding.repair import jpeg_ends, without_metadata
from t2c_search.decoding.rgb import DRAFT_MARGIN, to_rgb
from t2c_search.errors import ImageError

MAX_PIXELS = 250_000_000
"""Larger images are refused before decoding: Pillow takes 1 GB for one; the largest phone cameras make 200 megapixels."""
MAX_ASPECT = 100
"""More elongated images are refused: models scale the shorter side, so 1 x 65,000 would grow to gigabytes."""
_PIXEL_LIMITS = {"WEBP": 100_000_000, "AVIF": 150_000_000}  # their codecs take 16 and 9 bytes a pixel, others 4 to 8
_AVIF = ("AVIF",) if "avif" in features.modules and features.check("avif") else ()  # with Pillow 11.3 or later
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *_AVIF, "HEIF")  # HEIF would take AVIF, and cannot decode it
_SCANNED_PIXELS = 5_000_000_000  # some seconds' work; a progressive JPEG goes over its pixels about 10 times
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a JPEG, those with nothing behind them left out
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_DRAFTED = ("JPEG", "MPO")  # MPO: a JPEG with further ones behind it, as phones make

# Pillow's own limit of 89 megapixels warns of every large photograph; beyond twice the limit it refuses.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
pillow_heif.register_heif_opener()


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says of itself: ``width`` and ``height`` in pixels of the whole upright image, format, EXIF."""

    width: int
    height: int
    format: str
    exif: Image.Exif


@dataclass(frozen=True, slots=True)
class DecodedImage(ImageHeader):
    """An image with its ``pixels``: upright RGB, perhaps scaled down."""

    pixels: Image.Image


def decode_file(path: str | Path, *, decode_size: int | None = None) -> Image.Image:
    """Return a file's upright RGB image, see ``decode``. Raises ImageError."""
    return decode(read_file(path), decode_size).pixels


def read_header(content: bytes) -> ImageHeader:
    """Return what an image file says of itself, and decode no pixels. Raises ImageError as ``decode``."""
    try:
        image = _open(content)
    except ImageError:
        if (bare := without_metadata(content)) is None:
            raise
        image = _open(bare)
    return ImageHeader(*_described(image, image.size, *read_exif(image)))


def decode(content: bytes, decode_size: int | None) -> DecodedImage:
    """Decode an image file's bytes to upright RGB.

    A JPEG may come scaled down by 2, 4 or 8, its shorter side still at least twice ``decode_size`` pixels: that skips
    most of the work on large photographs. None decodes in full. Whatever the format, what has more than ``LARGE_PIXELS``
    comes scaled down to less.

    What a file holds beside its pixels costs it no pixel: where it is damaged, or too large, it is left out. A JPEG may lack
    its end mark. Raises ImageError, saying what is wrong with the image.
    """
    try:
        return _decode(content, decode_size)
    except ImageError:
        for repaired in _repaired(content, decode_size):
            with suppress(ImageError):
                return _decode(repaired, decode_size)
        raise


def _repaired(content: bytes, decode_size: int | None) -> Iterator[bytes]:
    """Yield what may be decoded in place of a file that cannot, and has all its pixels."""
    if bare := without_metadata(content):
        yield bare
    for file in filter(None, (content, bare)):
        if ends := jpeg_ends(file):
            with suppress(ImageError):
                one, other = (_decode(end, decode_size).pixels for end in ends)
                if one.tobytes() == other.tobytes():
                    yield ends[0]


def _decode(content: bytes, decode_size: int | None) -> DecodedImage:
    image = _open(content)
    size = image.size
    try:
        if decode_size is not None and image.format in _DRAFTED:
            image.draft(None, (DRAFT_MARGIN * decode_size, DRAFT_MARGIN * decode_size))
        image.load()
        exif, orientation = read_exif(image)
        pixels = upright(to_rgb(image, decode_size), orientation)
    except Exception as exc:  # a damaged file makes codecs raise anything, from OSError to IndexError and MemoryError
        raise ImageError(f"the image cannot be decoded: {exc or type(exc).__name__}") from exc
    return DecodedImage(*_described(image, size, exif, orientation), pixels)


def _described(
    image: Image.Image, size: tuple[int, int], exif: Image.Exif, orientation: int
) -> tuple[int, int, str, Image.Exif]:
    """Return the fields of an image's header; ``size`` is the whole image's, as it is stored."""
    width, height = size if orientation < 5 else size[::-1]  # the others turn by a quarter
    return width, height, "JPEG" if image.format in _DRAFTED else image.format or "", exif


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
