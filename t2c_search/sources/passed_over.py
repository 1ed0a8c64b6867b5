"""What lies in a folder or archive and is not looked at, each kind by one name in the remarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from t2c_search.errors import UsageError

HIDDEN = "passed over: its name begins with a dot, or is one of a system's own folders, such as @eaDir"
EXCLUDED = "passed over by --exclude"
NO_IMAGE = "passed over: its ending is none of an image's"
NO_FILE = "passed over: it is a pipe or a device, or of another kind that holds no bytes"

_SYSTEM = frozenset(
    (
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "system volume information",
        "lost+found", "__macosx",
    )
)  # fmt: skip
"""Names, in lower case, of folders in which systems keep thumbnails, copies and what was deleted."""
_PICTURES = frozenset(
    (
        ".3fr", ".ai", ".arw", ".bpg", ".cr2", ".cr3", ".crw", ".cur", ".dcm", ".dcr", ".dds", ".djvu", ".dng", ".emf",
        ".eps", ".erf", ".exr", ".fff", ".fits", ".hdr", ".icns", ".ico", ".iiq", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl",
        ".jxr", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pbm", ".pcx", ".pdf", ".pef", ".pgm", ".pic",
        ".pnm", ".ppm", ".psb", ".psd", ".qoi", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".svg", ".svgz",
        ".tga", ".wdp", ".wmf", ".x3f", ".xcf",
    )
)  # fmt: skip
"""Endings, in lower case, of pictures that cannot be read here: RAW of cameras, drawings and rare formats."""


def is_hidden(name: str) -> bool:
    """Tell what begins with a dot, and the folders that systems keep for themselves."""
    return (name.startswith(".") and name != "..") or name.lower() in _SYSTEM


def check_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns of ``--exclude``. Raises UsageError for one that nothing could match."""
    for pattern in patterns:
        if not PurePosixPath(pattern).parts:
            raise UsageError(
                f"the pattern {pattern!r} of --exclude names nothing: expected such as '*_thumb.jpg' or 'raw/*'"
            )
    return tuple(patterns)


def why_passed_over(below: str, root: str, exclude: Sequence[str]) -> str | None:
    """Return the kind of remark on what lies ``below`` a folder or archive and is not looked at; None for all else.

    A pattern is a name, or the last parts of a path, of the thing itself or of what it lies in below the ``root``.
    """
    if any(map(is_hidden, PurePosixPath(below).parts)):
        return HIDDEN
    return EXCLUDED if is_excluded(below, root, exclude) else None


def is_excluded(below: str, root: str, exclude: Sequence[str]) -> bool:
    """Tell what a pattern excludes below a root, or with the folder that it lies in."""
    place = PurePosixPath(root)
    for part in PurePosixPath(below).parts if exclude else ():
        place /= part
        if any(place.match(pattern) for pattern in exclude):
            return True
    return False


def why_not_an_image(path: str) -> str:
    """Return the kind of remark on a file that has no ending of an image."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _PICTURES:
        return f"passed over: {suffix} files cannot be read; convert them, to JPEG or PNG"
    return NO_IMAGE
