"""A map as one page for a browser: points to look at, name, and choose; nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.aside import file_aside
from t2c_search.concepts.atlas.atlas import Atlas
from t2c_search.errors import T2CError, UsageError, redact
from t2c_search.export.colours import group_colours
from t2c_search.export.page import harmless
from t2c_search.export.thumbnails import thumbnail
from t2c_search.progress import NoProgress, Progress
from t2c_search.query.language.bounds import MAX_CHARACTERS, MAX_VALUES
from t2c_search.types import Failure

PathsOf = Callable[[Sequence[str]], Iterator[str]]
"""Yields the paths of images, given their ids, in that order."""

THUMBNAILS = 2000
"""Of a page, when not asked for otherwise: some 8 MB."""
_MOST_BYTES = 19_500_000  # of a page, with room for what stands around them below 20 MB
_MOST_POINTS = 200_000  # what a canvas draws without a pause
_MOST_PATHS = 8_000_000  # bytes of a page
_SIDE, _QUALITY = 96, 75  # of a thumbnail
_STEPS = 65_535  # places are told in whole steps of the map's longer side
_TRAITS = 4  # words told of a cluster


@dataclass(frozen=True, slots=True)
class MapPage:
    """What a page shows beside the map: its title, a note of what was asked, and how many thumbnails at most.

    Raises UsageError for a number that cannot be.
    """

    title: str
    note: str = ""
    thumbnails: int = THUMBNAILS

    def __post_init__(self) -> None:
        if self.thumbnails < 0:
            raise UsageError(f"{self.thumbnails} thumbnails cannot be made; expected 0 or more")


def write_map_page(
    atlas: Atlas, paths_of: PathsOf, page: MapPage, path: Path, progress: Progress | None = None
) -> None:
    """Write a map as a page of less than 20 MB, and in it how many points and thumbnails were left out for that.

    Raises UsageError where it cannot be written.
    """
    paths, bytes_of_paths = _paths_with_room(paths_of(atlas.ids[:_MOST_POINTS]))
    chosen = _spread(atlas.labels[: len(paths)])[: page.thumbnails]
    room = _MOST_BYTES - bytes_of_paths - 8 * len(paths)
    thumbnails, unread = _thumbnails(paths, chosen, room, progress or NoProgress())
    data = {
        **_points(atlas, paths),
        "thumbnails": {str(at): data for at, data in thumbnails.items()},
        "clusters": _clusters(atlas),
        "field": atlas.field,
        "limits": {"values": MAX_VALUES, "characters": MAX_CHARACTERS},
    }
    notes = [*filter(None, [page.note]), f"{atlas.told()}. Named in the words of {atlas.vocabulary}."]
    notes += _left_out(len(atlas), len(paths), len(thumbnails), unread)
    with file_aside(path) as target:
        target.write(_page(page.title, notes, data).encode())


def _paths_with_room(paths: Iterator[str]) -> tuple[list[str], int]:
    """Return as many of the paths as a page has room for, passwords left out, and the bytes they take there."""
    kept: list[str] = []
    size = 0
    for path in paths:
        size += len(_json(path.rpartition("/")[2])) + 8
        if size > _MOST_PATHS:
            break
        kept.append(redact(path))
    return kept, size


def _spread(labels: npt.NDArray[np.int32]) -> list[int]:
    """Return the places of images so that clusters take turns: any number from the start shows all of them."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    turn = np.arange(len(labels)) - starts
    return [int(at) for at in order[np.lexsort((labels[order], turn))]]


def _thumbnails(
    paths: Sequence[str], chosen: Sequence[int], room: int, progress: Progress
) -> tuple[dict[int, str], int]:
    """Return thumbnails in base64 by the image's place, as many as there is room for, and how many could not be read."""
    progress.start(len(chosen), "thumbnails")
    made: dict[int, str] = {}
    unread = 0
    for at in chosen:
        progress.advance(1)
        try:
            small = thumbnail(paths[at], _SIDE)
        except T2CError as exc:  # it cannot be read, or a package for reading it is missing
            progress.fail(Failure(paths[at], str(exc)))
            unread += 1
            continue
        content = io.BytesIO()
        small.save(content, "JPEG", quality=_QUALITY)
        data = base64.b64encode(content.getvalue()).decode()
        room -= len(data) + 16
        if room < 0:
            break
        made[at] = data
    return made, unread


def _points(atlas: Atlas, paths: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the points shown: places, clusters, and paths as a folder's number and a name."""
    low, high = atlas.places.min(axis=0), atlas.places.max(axis=0)
    span = max(float((high - low).max()), np.finfo(np.float32).tiny)
    places = (atlas.places[: len(paths)] - (low + high) / 2) / span + 0.5
    steps = np.clip(np.rint(places * _STEPS), 0, _STEPS)
    split = [path.rpartition("/") for path in paths]
    folders = {folder: at for at, folder in enumerate(dict.fromkeys(head + slash for head, slash, _ in split))}
    return {
        "x": _packed(steps[:, 0], "<u2"),
        "y": _packed(_STEPS - steps[:, 1], "<u2"),  # a page's y points down
        "cluster": _packed(atlas.labels[: len(paths)], "u1"),
        "folder": _packed(np.array([folders[head + slash] for head, slash, _ in split]), "<u4"),
        "folders": list(folders),
        "names": [name for *_, name in split],
    }


def _packed(column: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(column.astype(kind).tobytes()).decode()


def _clusters(atlas: Atlas) -> list[dict[str, Any]]:
    colours = group_colours(len(atlas.clusters))
    return [
        {
            "name": cluster.name,
            "size": cluster.size,
            "colour": colour,
            "traits": [[trait.concept, round(trait.g, 2)] for trait in cluster.traits[:_TRAITS]],
        }
        for cluster, colour in zip(atlas.clusters, colours, strict=True)
    ]


def _left_out(images: int, points: int, thumbnails: int, unread: int) -> list[str]:
    notes = []
    if points < images:
        notes.append(
            f"Shown are {points:,} of them, an even sample: a page with all would be too large for a browser. What is chosen "
            "here is chosen of those."
        )
    if thumbnails < points:
        why = f"; {unread:,} could not be read" if unread else ""
        notes.append(f"{thumbnails:,} images have a thumbnail in the page, the others a name{why}.")
    return notes


def _page(title: str, notes: Sequence[str], data: dict[str, Any]) -> str:
    here = files(__package__)
    style, script, body = (here.joinpath(f"map.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html"))
    shown = escape(harmless(title))
    lines = "".join(f"<p>{escape(harmless(note))}</p>" for note in notes)
    before, _, after = body.partition("{title}")
    between, _, after = after.partition("{notes}")
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown}</title>
<style>{style}</style></head>
<body>
{before}{shown}{between}{lines}{after}
<script type="application/json" id="data">{_json(data)}</script>
<script>{script}</script>
</body></html>
"""


def _digest(text: str) -> str:
    """Return what a page's policy calls a script or style by: no other one runs."""
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def _json(value: Any) -> str:
    """Write a value as JSON in ASCII that cannot end the element it stands in."""
    return (
        json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
