"""Text and JSON files beside an image that say something of it."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from t2c_search.decoding.files import open_local
from t2c_search.decoding.metadata import CAPTIONS
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.annotations import as_fields, merge
from t2c_search.sources.tables.rows import open_text, whole_number
from t2c_search.types import Payload

SIDECAR_BYTES = 256 << 10
"""Larger sidecars are passed over: a payload is no place for documents, and stores limit the size of a request."""
SIDECAR_SUFFIXES = (".txt", ".json")
TOO_LARGE = f"it is larger than {SIDECAR_BYTES >> 10} KiB"

_TAKEOUT_MARK = ".supplemental-metadata"
_TAKEOUT_NAME = 46  # characters of a name that are kept before ".json"
_NUMBERED = re.compile(r"(.+)(\(\d+\))")


def sidecar_names(image: str) -> tuple[str, ...]:
    """Return the names of the files beside an image that may describe it.

    ``photo.txt`` and ``photo.json``, ``photo.jpg.txt`` and ``photo.jpg.json``; and as a Takeout of Google's names them, which
    cuts long names, and moves the number of ``photo(1).jpg``. Each in every Unicode normal form: macOS writes other ones.
    """
    stem, suffix = PurePosixPath(image).stem, PurePosixPath(image).suffix
    base, number = image, ""
    if found := _NUMBERED.fullmatch(stem):
        base, number = found[1] + suffix, found[2]
    takeout = [f"{(base + mark)[:_TAKEOUT_NAME]}{number}.json" for mark in ("", _TAKEOUT_MARK)]
    names = [name + ending for name in (stem, image) for ending in SIDECAR_SUFFIXES]
    every = [*names, *takeout]
    if not image.isascii():
        every += [unicodedata.normalize(form, name) for form in ("NFC", "NFD") for name in every]
    return tuple(dict.fromkeys(every))


def read_sidecars(image: Path, neighbours: Iterable[str], remarks: Remarks) -> Payload:
    """Return what several files beside an image say of it, by their names; captions of text files come first."""
    return merge(read_sidecar(image.with_name(name), remarks) for name in sorted(neighbours, reverse=True))


def read_sidecar(path: Path, remarks: Remarks) -> Payload:
    """Return the payload fields given by a ``.txt`` (a caption a line) or ``.json`` (one object) beside an image.

    What cannot be used is remarked and passed over.
    """
    try:
        with open_local(path) as file:
            content = file.read(SIDECAR_BYTES + 1)
        if len(content) > SIDECAR_BYTES:
            raise ValueError(TOO_LARGE)
    except (OSError, ValueError) as exc:
        remarks.add(f"sidecar passed over: {getattr(exc, 'strerror', None) or exc}", str(path))
        return {}
    return parse_sidecar(content, str(path), remarks)


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
