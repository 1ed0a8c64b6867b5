"""Small named byte strings kept beside a collection's points: the card, the aligner, the statistics."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import asdict
from pathlib import Path

from t2c_search.errors import UsageError
from t2c_search.stores.protocol import CollectionSpec

SPEC = "spec"
"""Key of the blob that ``create`` writes last: a collection exists when it is there."""

_KEY = re.compile(r"[a-z0-9][a-z0-9-]*")


def check_key(key: str) -> None:
    """Raise UsageError unless the key is made of a-z, digits and ``-``."""
    if not _KEY.fullmatch(key):
        raise UsageError(f"blob key {key!r} cannot be used; expected a-z, digits and -")


def dump_spec(spec: CollectionSpec) -> bytes:
    """Write a collection's specification as JSON."""
    return json.dumps(asdict(spec)).encode()


def load_spec(content: bytes) -> CollectionSpec:
    """Read what ``dump_spec`` wrote."""
    return CollectionSpec(**json.loads(content))


class FileBlobs:
    """Blobs as files of one folder, each replaced atomically and durably. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """Return the blob's bytes, or None when there is none."""
        check_key(key)
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, key: str, content: bytes) -> None:
        """Replace the blob; a reader, or a crash, sees the old bytes or the new ones."""
        check_key(key)
        self._folder.mkdir(parents=True, exist_ok=True)
        # a key cannot begin with a dot, so what a killed writer leaves is never read
        descriptor, temporary = tempfile.mkstemp(prefix=f".{key}.", dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._folder / key)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(self._folder)


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable, where the system can: renames in it survive a power cut."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
