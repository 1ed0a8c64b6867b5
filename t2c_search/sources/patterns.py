"""What users write for several sources at once: ``-``, ``photos/**/*.jpg`` and ``shards-{000..012}.tar``."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path, PurePosixPath

from t2c_search.errors import UsageError
from t2c_search.sources.addresses import absolute, glob_remote, is_http, is_remote, stat, tidied
from t2c_search.sources.inputs import SUFFIXES
from t2c_search.sources.kinds import split_member
from t2c_search.sources.lister import Listing
from t2c_search.sources.passed_over import EXCLUDED, is_excluded, why_not_an_image

_STDIN = "-"
_MOST_NAMES = 100_000  # from one brace pattern; more is a slip of the finger
_RANGE = r"-?\d+\.\.-?\d+(?:\.\.-?\d+)?|[A-Za-z]\.\.[A-Za-z](?:\.\.-?\d+)?"


def expand_sources(sources: Iterable[str | Path], listing: Listing) -> Iterator[str]:
    """Yield the address of every source, in order: patterns expanded, ``-`` replaced by the lines of standard input.

    What a file is really called always counts before what it might mean as a pattern. Raises UsageError for what does
    not exist, and for a pattern that nothing matches; where a line of standard input is such a one, it is a remark.
    """
    for source in map(str, sources):
        yield from _expand_lines(sys.stdin.buffer, listing) if source == _STDIN else _expand(source, listing)


def _expand_lines(lines: Iterable[bytes], listing: Listing) -> Iterator[str]:
    """Expand the lines of a list, which was made a while ago as a rule: files may have gone since."""
    for name in filter(None, (line.rstrip(b"\r\n") for line in lines)):
        try:
            yield from _expand(os.fsdecode(name), listing)
        except UsageError as exc:
            listing.remarks.add(str(exc), name.decode("utf-8", "replace"))


def _expand(source: str, listing: Listing) -> Iterator[str]:
    source = tidied(source)
    if _exists(source):
        yield absolute(source)
        return
    names = list(dict.fromkeys(islice(expand_braces(source), _MOST_NAMES + 1)))
    if len(names) > _MOST_NAMES:
        raise UsageError(f"{source!r} stands for more than {_MOST_NAMES} names")
    for name in names:
        yield from _matches(name, listing)


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names that a brace pattern stands for, as in a shell: ``{a,b}``, ``{000..012}``, ``{a..e..2}``, nested."""
    for opening in re.finditer("{", pattern):
        inside = _inside(pattern[opening.end() :])
        if len(inside) > 1 or re.fullmatch(_RANGE, "".join(inside)):
            head, tail = pattern[: opening.start()], pattern[opening.end() + len(",".join(inside)) + 1 :]
            choices = chain.from_iterable(map(expand_braces, inside)) if len(inside) > 1 else _range(inside[0])
            yield from (head + choice + rest for choice in choices for rest in expand_braces(tail))
            return
    yield pattern


def _inside(text: str) -> list[str]:
    """Split what stands behind an opening brace, up to the closing one, at its own commas; empty when none closes it."""
    depth, start, parts = 0, 0, []
    for mark in re.finditer("[{},]", text):
        if depth == 0 and mark[0] != "{":
            parts.append(text[start : mark.start()])
            start = mark.end()
            if mark[0] == "}":
                return parts
        depth += {"{": 1, "}": -1, ",": 0}[mark[0]]
    return []


def _range(inside: str) -> Iterator[str]:
    first, last, *steps = inside.split("..")
    letters = first.isalpha()
    start, stop = (ord(first), ord(last)) if letters else (int(first), int(last))
    step = abs(int(steps[0])) or 1 if steps else 1
    padded = any(re.match(r"-?0\d", end) for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    for value in range(start, stop + 1, step) if start <= stop else range(start, stop - 1, -step):
        yield chr(value) if letters else f"{value:0{width}d}"


def _exists(source: str) -> bool:
    """Tell whether a source is there as it is written; an address without a pattern counts as such, unasked."""
    if not is_remote(source):
        return os.path.lexists(absolute(source))
    plain = next(expand_braces(source)) == source and (is_http(source) or not glob.has_magic(source))
    return plain or (not is_http(source) and stat(source) is not None)


def _matches(name: str, listing: Listing) -> Iterator[str]:
    """Yield what one name without braces stands for."""
    container, _ = split_member(name)
    if _exists(name) or (container and _exists(container)):
        yield absolute(name)
        return
    if not glob.has_magic(name):
        raise UsageError(f"there is no file or folder {absolute(name)!r}: name images, folders or archives of images")
    pattern = absolute(name)
    matches = glob_remote(pattern) if is_remote(pattern) else _glob(pattern)
    wanted = [match for match in matches if _is_wanted(match, pattern, listing)]
    if not wanted:
        raise UsageError(f"nothing matches {name!r}")
    yield from wanted


def _glob(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern


def _is_wanted(match: str, pattern: str, listing: Listing) -> bool:
    """Tell folders, images, and what the pattern names by its ending, from what merely lies between them, and is remarked."""
    if is_excluded(match, "", listing.exclude):
        listing.remarks.add(EXCLUDED, match)
        return False
    suffix = PurePosixPath(match).suffix
    if suffix.lower() in SUFFIXES or (suffix and pattern.endswith(suffix)):
        return True
    found = stat(match)
    if found is None or not found.is_folder:
        listing.remarks.add(why_not_an_image(match), match)
        return False
    return True
