"""The kinds of sources beside folders and image files: a list, each with its endings and its functions."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from t2c_search.decoding.metadata import MEMBER
from t2c_search.sources.addresses import is_remote, read_whole
from t2c_search.sources.containers import archives, embeddings, parquet, video
from t2c_search.sources.lister import Lister
from t2c_search.sources.tables import manifests
from t2c_search.sources.tables.rows import TABLE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that holds or names many images, known by its ending.

    ``read(address, member)`` returns the bytes of one; None where the paths that it lists lie elsewhere. ``forwards``:
    to read one behind the last is quick, and to go back costs as much as all before it. ``holds_all``: it never names what
    lies elsewhere.
    """

    suffixes: tuple[str, ...]
    list: Lister
    read: Callable[[str, str], bytes] | None = None
    forwards: bool = False
    holds_all: bool = False


KINDS = (
    Kind(archives.TAR_SUFFIXES, archives.list_tar, archives.read_tar, holds_all=True),
    Kind(archives.COMPRESSED_SUFFIXES, archives.refuse_compressed),
    Kind(archives.ZIP_SUFFIXES, archives.list_zip, archives.read_zip, holds_all=True),
    Kind((".parquet",), parquet.list_parquet, parquet.read_parquet, forwards=True),
    Kind(video.VIDEO_SUFFIXES, video.list_video, video.read_frame, forwards=True, holds_all=True),
    Kind((embeddings.VECTORS_SUFFIX,), embeddings.list_embeddings),
    Kind(TABLE_SUFFIXES, manifests.list_manifest),
)


def kind_of(address: str) -> Kind | None:
    """Return the kind that an address has by its ending; None for images and folders."""
    return next((kind for kind in KINDS if address.lower().endswith(kind.suffixes)), None)


def is_file(path: str) -> bool:
    """Tell a local file, which others can open by this path, from a member of a container and a remote address."""
    return not is_remote(path) and (MEMBER not in path or os.path.lexists(path))


def split_member(path: str) -> tuple[str, str]:
    """Split the path of an image into its container and its member's name there; ("", "") for what lies in no container.

    The separator may also stand in the names of folders: of several, the first after a container that exists decides,
    and where none exists the first after what is one by its ending.
    """
    if MEMBER not in path or is_file(path):
        return "", ""
    found = [(path[: place.start()], path[place.end() :]) for place in re.finditer(MEMBER, path)]
    members = [(container, member) for container, member in found if member and kind_of(container)]
    there = (parts for parts in members if is_remote(path) or Path(parts[0]).is_file())
    return next(there, members[0] if members else ("", ""))


def read_forwards(path: str) -> str:
    """Return the container that an image lies in, if such a one is read forwards; "" for all other images."""
    container, _ = split_member(path)
    kind = kind_of(container)
    return container if kind and kind.forwards else ""


def read_image(path: str) -> bytes:
    """Return the bytes of the image at a path as payloads have it.

    A local file, a remote address, or a member of an archive, a table or a video: ``/photos/a.tar::dir/0001.jpg``.
    Raises ImageError when they cannot be had, UsageError when a package for such addresses or videos is missing.
    """
    container, member = split_member(path)
    kind = kind_of(container)
    return kind.read(container, member) if kind and kind.read else read_whole(path)
