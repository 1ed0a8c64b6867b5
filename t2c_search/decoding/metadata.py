"""An image's payload: what its file says of it."""

from __future__ import annotations

from pathlib import PurePath

from blake3 import blake3

from t2c_search.decoding.decode import DecodedImage, ImageHeader
from t2c_search.decoding.exif import camera_payload
from t2c_search.decoding.look import LOOK, look
from t2c_search.stores.protocol import FieldType
from t2c_search.types import FACTORS, Payload

CAPTIONS = "captions"
"""Payload field: the list of texts that people wrote about the image."""

EXPLAINED = FACTORS
"""Payload field: the method by which the image's vector was taken apart, where its factors are kept."""

MEMBER = "::"
"""Stands in a path between a container and what lies in it: ``/photos/a.tar::dir/0001.jpg``."""

MEASURED = frozenset(
    (
        "path",
        "name",
        "folders",
        "bytes",
        "mtime_ns",
        "hash",
        "format",
        "width",
        "height",
        "taken",
        "camera",
        "gps",
        LOOK,
        EXPLAINED,
    )
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


def measured_payload(header: ImageHeader, size: int, digest: str) -> Payload:
    """Return those of the ``MEASURED`` fields that come from an image file's bytes: their number, hash, header and pixels.

    Those that its EXIF does not give are absent, and so is how it looks where no pixels were decoded.
    """
    seen = {LOOK: look(header.pixels)} if isinstance(header, DecodedImage) else {}
    return {
        "bytes": size,
        "hash": digest,
        "format": header.format,
        "width": header.width,
        "height": header.height,
        **camera_payload(header.exif),
        **seen,
    }
