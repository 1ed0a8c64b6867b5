"""What a camera wrote into an image file: which way is up, when, with what and where it was taken.

EXIF in the wild is broken in every way; it never costs an image.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

from t2c_search.types import Payload

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
    if not (stamp := _text(tags.get(ExifTags.Base.DateTimeOriginal))):
        return None
    moment = datetime.strptime(stamp, "%Y:%m:%d %H:%M:%S")
    with suppress(ValueError):
        offset = _text(tags.get(ExifTags.Base.OffsetTimeOriginal))
        moment = datetime.fromisoformat(moment.isoformat() + offset)
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
    """Join (degrees, minutes, seconds) to signed degrees, rounded to 1 cm. Raises ValueError unless finite."""
    value: float = sum(float(part) / 60**power for power, part in enumerate(parts))
    if not math.isfinite(value):
        raise ValueError(f"not a coordinate: {parts!r}")
    return round(-value if _text(hemisphere).upper() == negative else value, 7)


def _text(value: Any) -> str:
    """Return a tag's text without what cameras leave behind its end; empty for anything else."""
    return value.split("\0")[0].strip() if isinstance(value, str) else ""
