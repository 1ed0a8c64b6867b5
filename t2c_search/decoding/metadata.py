"""An image's payload: what its file says of it."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime
from pathlib import PurePath
from typing import Any

from blake3 import blake3
from PIL import ExifTags, Image

from t2c_search.decoding.decode import DecodedImage
from t2c_search.stores.protocol import FieldType
from t2c_search.types import Payload

CAPTIONS = "captions"
"""Payload field: the list of texts that people wrote about the image."""

MEMBER = "::"
"""Stands in a path between a container and what lies in it: ``/photos/a.tar::dir/0001.jpg``."""

MEASURED = frozenset(
    ("path", "name", "folders", "bytes", "mtime_ns", "hash", "format", "width", "height", "taken", "camera", "gps")
)
"""Payload fields that come from the image file; sidecars and caption files may use any other name."""

PAYLOAD_INDEXES: dict[str, FieldType] = {
    "name": "keyword",
    "folders": "keyword",
    "bytes": "integer",
    "hash": "keyword",
    "format": "keyword",
    "width": "integer",
    "height": "integer",
    "taken": "datetime",
    "camera": "keyword",
    "gps": "geo",
    CAPTIONS: "text",
}
"""Payload fields to index when a collection is made, with their types."""


def content_hash(content: bytes) -> str:
    """Return the BLAKE3 digest of a file's bytes in hexadecimal."""
    return blake3(content).hexdigest()


def location_payload(path: str, mtime_ns: int) -> Payload:
    """Return those of the ``MEASURED`` fields that change when a file moves.

    ``folders`` names every folder and archive above the file, outermost first.
    """
    location = PurePath(path.replace(MEMBER, "/"))
    return {"path": path, "name": location.name, "folders": list(location.parent.parts[1:]), "mtime_ns": mtime_ns}


def measured_payload(path: str, mtime_ns: int, content: bytes, decoded: DecodedImage) -> Payload:
    """Return the ``MEASURED`` fields of an image file; those its EXIF does not give are absent.

    ``taken`` is ISO 8601, with an offset from UTC where the camera noted one; ``gps`` is ``{"lat", "lon"}`` in degrees.
    """
    payload = location_payload(path, mtime_ns) | {
        "bytes": len(content),
        "hash": content_hash(content),
        "format": decoded.format,
        "width": decoded.width,
        "height": decoded.height,
    }
    for field, read in (("taken", _taken), ("camera", _camera), ("gps", _gps)):
        with suppress(Exception):  # EXIF in the wild is broken in every way; it never costs an image
            if (value := read(decoded.exif)) is not None:
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
