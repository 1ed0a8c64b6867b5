"""``t2c demo``: the whole job on drawn scenes, each answer measured against the truth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from t2c_search.collection import open_collection
from t2c_search.demo.world import draw
from t2c_search.export.sheet import write_sheet
from t2c_search.indexing.report import Progress
from t2c_search.query.syntax import parse

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
    "four objects",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One query, how many of its first ten hits are true, and the share of all true scenes among as many first hits."""

    query: str
    precision_at_10: float
    recall: float
    sheet: Path


@dataclass(frozen=True, slots=True)
class Tour:
    """What the demo did: seconds in all, images indexed, the collection and its store, and the answers."""

    seconds: float
    images: int
    collection: str
    store: Path
    queries: tuple[Answer, ...]


def run(folder: Path, *, progress: Progress | None = None) -> Tour:
    """Draw ``SCENES`` scenes into ``folder``, index them with the mini backbone aligned to the mini CLIP model, search.

    The backbone never saw a caption; the truth of every scene is known, so that every answer can be marked. Run again, it
    uses the scenes and the collection that are there.
    """
    started = time.perf_counter()
    truths = {}
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for scene in draw(SEED, SCENES):
        name = f"{scene.index:05d}.png"
        truths[name] = scene.truth
        file = folder / "images" / name
        if not file.exists():
            Image.fromarray(scene.image).save(file, compress_level=1)
    answers = []
    store = folder / "demo.t2c"
    with open_collection(COLLECTION, str(store), clip="mini", backbone="mini:cnn") as scenes:
        report = scenes.index([folder / "images"], progress=progress)
        for number, query in enumerate(QUERIES, 1):
            tree = parse(query)
            true = {name for name, truth in truths.items() if truth.matches(tree)}
            hits = scenes.search(query, limit=max(10, len(true)))
            right = [Path(hit.path).name in true for hit in hits]
            sheet = folder / f"{number}.png"
            write_sheet(hits[:12], query, sheet)
            answers.append(Answer(query, sum(right[:10]) / 10, sum(right[: len(true)]) / max(len(true), 1), sheet))
    images = report.indexed + report.unchanged
    return Tour(time.perf_counter() - started, images, COLLECTION, store, tuple(answers))
