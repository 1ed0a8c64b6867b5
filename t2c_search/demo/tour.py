"""``t2c demo``: the whole job on drawn scenes, each answer measured against the truth."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.demo.truth import Truth
from t2c_search.demo.world import Scene, draw
from t2c_search.errors import ImageError, UsageError
from t2c_search.export.sheet import write_sheet
from t2c_search.indexing.report import IndexReport
from t2c_search.progress import Progress
from t2c_search.query.language.syntax import parse

COLLECTION = "scenes"
SCENES = 2000
SEED = 2026
"""Of the scenes shown; the mini models were trained on other seeds."""
QUERIES = (
    "a red star",
    "a heart on grass",
    '"a ring" AND NOT "on brick"',
    '"a red heart" AND NOT "on brick"',
    '("an arrow" OR "a cross") AND "in water"',
    '"a crescent" AND "at night"',
)
SHOWN = 12  # hits on a contact sheet
MARKER = ".t2c-demo"  # a file that tells a demo's folder from all others


@dataclass(frozen=True, slots=True)
class Answer:
    """One query, how many of its first ten hits are true, and the share of all true scenes among as many first hits."""

    query: str
    precision_at_10: float
    recall: float
    sheet: Path


@dataclass(frozen=True, slots=True)
class Tour:
    """What the demo did: seconds in all, the images there, the collection and its store, and the answers.

    ``drawn`` and ``indexed`` count the images that were not there, whole, from an earlier demo.
    """

    seconds: float
    images: int
    drawn: int
    indexed: int
    collection: str
    store: Path
    queries: tuple[Answer, ...]


def run(place: str, *, progress: Progress | None = None) -> Tour:
    """Draw ``SCENES`` scenes into the folder ``place``, index them with the mini backbone aligned to the mini CLIP, search.

    The backbone never saw a caption; the truth of every scene is known, so that every answer can be marked. Run again, it
    uses the scenes and the collection that are there. Raises UsageError for a place that is no folder, cannot be written or
    holds anything but an earlier demo, and ImageError when not every scene could be indexed.
    """
    started = time.perf_counter()
    folder = _folder(place)
    with _writing(folder):
        _claim(folder)
        truths, drawn = draw_pictures(folder / "images", draw(SEED, SCENES))
    store = folder / "demo.t2c"
    with open_collection(COLLECTION, str(store), clip="mini", backbone="mini:cnn") as scenes:
        report = scenes.index(truths, progress=progress)
        require_all(report, len(truths), folder)
        known = {file.name: truth for file, truth in truths.items()}
        answers = [_answer(scenes, query, known, folder / f"{i}.png") for i, query in enumerate(QUERIES, 1)]
    seconds = time.perf_counter() - started
    return Tour(seconds, len(truths), drawn, report.indexed, COLLECTION, store, tuple(answers))


def draw_pictures(folder: Path, scenes: Iterable[Scene]) -> tuple[dict[Path, Truth], int]:
    """Write the scenes that are not there, byte for byte; return the truth of every file, and how many were written.

    Each is written aside and then renamed, so that what is there under a scene's name is whole.
    """
    truths, drawn = {}, 0
    for scene in scenes:
        file = folder / f"{scene.index:05d}.png"
        truths[file] = scene.truth
        picture = BytesIO()
        Image.fromarray(scene.image).save(picture, "PNG", compress_level=1)
        if not file.is_file() or file.read_bytes() != picture.getvalue():
            aside = folder / ".drawing"
            aside.write_bytes(picture.getvalue())
            aside.replace(file)
            drawn += 1
    return truths, drawn


def require_all(report: IndexReport, count: int, folder: Path) -> None:
    """Raise ImageError when fewer than ``count`` images are in the collection after a run."""
    missing = count - (report.seen - report.failed)
    if missing:
        reasons = [*(f"{failure.path}: {failure.reason}" for failure in report.failures), *report.warnings]
        raise ImageError(
            f"{missing} of {count} drawn scenes could not be indexed ({reasons[0] if reasons else 'no reason is known'}); "
            f"delete {folder} and run t2c demo again"
        )


def _folder(place: str) -> Path:
    if not place.strip() or place.startswith(":") or "://" in place:
        raise UsageError(
            f"--store {place!r} cannot be used here: the demo puts pictures and an embedded store into a folder; "
            "name one, such as t2c-demo"
        )
    return Path(place)


def _claim(folder: Path) -> None:
    """Make the folder the demo's. Raises UsageError when it holds anything but an earlier demo."""
    marker = folder / MARKER
    if folder.is_dir() and not marker.is_file() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty and holds no earlier demo, whose files would mix with yours; "
            "name a new folder with --store"
        )
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text("made by t2c demo; delete the whole folder when you have seen it\n", encoding="utf-8")
    (folder / "images").mkdir(exist_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Tell of a folder that cannot be written as the caller's mistake."""
    try:
        yield
    except OSError as exc:
        raise UsageError(
            f"the demo cannot be written to {folder} ({exc.filename or folder}: {exc.strerror or exc}); "
            "name a new folder with --store"
        ) from exc


def _answer(scenes: Collection, query: str, truths: Mapping[str, Truth], sheet: Path) -> Answer:
    """Search, mark the hits by their files' truths, and draw a contact sheet."""
    tree = parse(query)
    true = {name for name, truth in truths.items() if truth.matches(tree)}
    hits = scenes.search(query, limit=max(SHOWN, len(true)))
    right = [Path(hit.path).name in true for hit in hits]
    with _writing(sheet.parent):
        write_sheet(hits[:SHOWN], f"{query}   ({sum(right[:SHOWN])} of these {SHOWN} are right)", sheet)
    return Answer(query, sum(right[:10]) / 10, sum(right[: len(true)]) / max(len(true), 1), sheet)
