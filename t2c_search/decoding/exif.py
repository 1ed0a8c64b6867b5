"""What a camera wrote into an image file: which way is up, when, with what and where it was taken.

EXIF in the wild is broken in every way; it never costs an image.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

from t2c_search.types import Payload

_ORIENTATION = 0x0112  # EXIF tag
_MOMENT = re.compile(  # "2023:07:14 21:05:09" by the standard; the others are what programs write
    r"(\d{4})[:/.-](\d{1,2})[:/.-](\d{1,2})"
    r"(?:[T ]\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,]\d+)?)?\s*(?:(?P<half>[AaPp])[Mm])?)?"
    r"\s*(?P<offset>Z|[+-]\d\d:?\d\d)?"
)
_POSITIVE = {"S": "N", "W": "E"}  # the hemisphere opposite to the negative one
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_exif(image: Image.Image) -> tuple[Image.Exif, int]:
    """Return the EXIF tags and the orientation, 1 to 8, that is still to be undone; broken EXIF counts as none."""
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION, 1)
    except Exception:
        return Image.Exif(), 1
    if image.format == "TIFF" or orientation not in _UPRIGHT:  # Pillow turns TIFF upright itself
        return exif, 1
    return exif, orientation


def upright(pixels: Image.Image, orientation: int) -> Image.Image:
    """Undo an EXIF orientation, 1 to 8."""
    return pixels.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else pixels


def camera_payload(exif: Image.Exif) -> Payload:
    """Return the payload fields ``taken``, ``camera`` and ``gps``; those that the tags do not give are absent.

    ``taken`` is ISO 8601, with an offset from UTC where the camera noted one; ``gps`` is ``{"lat", "lon"}`` in degrees.
    """
    payload: Payload = {}
    for field, read in (("taken", _taken), ("camera", _camera), ("gps", _gps)):
        with suppress(Exception):
            if (value := read(exif)) is not None:
                payload[field] = value
    return payload


def _taken(exif: Image.Exif) -> str | None:
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    found = _MOMENT.fullmatch(_text(tags.get(ExifTags.Base.DateTimeOriginal)))
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    if found["half"]:
        hour = hour % 12 + 12 * (found["half"].lower() == "p")
    moment = datetime(year, month, day, hour, minute, second)
    for offset in (found["offset"], _text(tags.get(ExifTags.Base.OffsetTimeOriginal))):
        with suppress(ValueError):
            if offset:
                return datetime.fromisoformat(moment.isoformat() + offset).isoformat()
    return moment.isoformat()


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    brand = make.split(" ", 1)[0].lower()
    if model.lower().startswith(brand):  # "NIKON CORPORATION" "NIKON D90"
        make = ""
    return " ".join(filter(None, (make, model))) or None


def _gps(exif: Image.Exif) -> dict[str, float] | None:
    tags = exif.get_ifd(ExifTags.IFD.GPSInfo)
    if ExifTags.GPS.GPSLatitude not in tags:
        return None
    lat = _degrees(tags[ExifTags.GPS.GPSLatitude], tags.get(ExifTags.GPS.GPSLatitudeRef), "S")
    lon = _degrees(tags[ExifTags.GPS.GPSLongitude], tags.get(ExifTags.GPS.GPSLongitudeRef), "W")
    return {"lat": lat, "lon": lon} if abs(lat) <= 90 and abs(lon) <= 180 else None


def _degrees(parts: Any, hemisphere: Any, negative: str) -> float:
    """Join (degrees, minutes, seconds) to signed degrees, rounded to 1 cm.

    The hemisphere counts by its first letter; where it is absent, only a sign tells. Raises ValueError for what is not finite,
    and where nothing tells the hemisphere.
    """
    value: float = sum(float(part) / 60**power for power, part in enumerate(parts))
    positive = _POSITIVE[negative]
    letter = _text(hemisphere)[:1].upper() or (negative if value < 0 else "")
    if not math.isfinite(value) or letter not in (positive, negative) or (value < 0 and letter == positive):
        raise ValueError(f"not a coordinate: {parts!r} {hemisphere!r}")
    return round(-abs(value) if letter == negative else value, 7)


def _text(value: Any) -> str:
    """Return a tag's text without what cameras leave behind its end; empty for anything else."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.split("\0")[0].strip() if isinstance(value, str) else ""
