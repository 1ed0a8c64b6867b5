"""Text and JSON files beside an image that say something of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

from t2c_search.decoding.files import open_local
from t2c_search.decoding.metadata import CAPTIONS
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.annotations import as_fields, merge
from t2c_search.sources.tables.rows import open_text, whole_number
from t2c_search.types import Payload

SIDECAR_BYTES = 256 << 10
"""Larger sidecars are passed over: a payload is no place for documents, and stores limit the size of a request."""
SIDECAR_SUFFIXES = (".txt", ".json")


def read_sidecars(image: Path, neighbours: Iterable[str], remarks: Remarks) -> Payload:
    """Return the payload fields given by the ``.txt`` (a caption a line) and ``.json`` (one object) beside an image.

    ``neighbours`` names those that exist. What cannot be used is remarked and passed over.
    """
    found: list[Payload] = []
    for name in sorted(neighbours, reverse=True):  # captions of the text file come first
        path = image.with_name(name)
        try:
            with open_local(path) as file:
                content = file.read(SIDECAR_BYTES + 1)
            if len(content) > SIDECAR_BYTES:
                raise ValueError(f"it is larger than {SIDECAR_BYTES >> 10} KiB")
        except (OSError, ValueError) as exc:
            remarks.add(f"sidecar passed over: {getattr(exc, 'strerror', None) or exc}", str(path))
        else:
            found.append(parse_sidecar(content, str(path), remarks))
    return merge(found)


def parse_sidecar(content: bytes, path: str, remarks: Remarks) -> Payload:
    """Return the payload fields in a sidecar's bytes, ``.txt`` or ``.json``; what cannot be used is remarked."""
    try:
        text = open_text(io.BytesIO(content)).read()
        given = (
            json.loads(text, parse_int=whole_number)
            if path.lower().endswith(".json")
            else {CAPTIONS: text.splitlines()}
        )
        if not isinstance(given, dict):
            raise ValueError("it is not a JSON object")
    except (ValueError, RecursionError) as exc:
        remarks.add(f"sidecar passed over: {exc}", path)
        return {}
    return as_fields(given, remarks, path)
