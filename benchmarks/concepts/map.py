"""A map's clusters in the drawn world: how pure they are, and whether their names are what sets them apart in truth.

The anchor is chance, clusters of the same sizes drawn by lot; the control is k-means on the pixels, named in the same way.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks._common import Bar, table
from benchmarks._parts import Measured
from t2c_search.collection import Collection, open_collection
from t2c_search.concepts.atlas.clusters import find_centres, nearest_centre, number_for, set_apart
from t2c_search.concepts.atlas.naming import Tally, traits_of
from t2c_search.demo.truth import Truth
from t2c_search.demo.words import BACKGROUNDS, COLOURS, SHAPES
from t2c_search.demo.world import draw

SEED, SCENES, QUICK = 77, 1500, 120
WORDS = (*SHAPES, *COLOURS, *(phrases[0] for phrases in BACKGROUNDS.values()))
PURE, NAMED = 0.9, 0.9
_PIXELS = 16  # side of the pictures that are clustered by their pixels

Labels = npt.NDArray[np.int32]


def measure(quick: bool) -> Measured:
    count = QUICK if quick else SCENES
    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        scenes.mkdir()
        truths, pixels = [], []
        for scene in draw(SEED, count):
            truths.append(scene.truth)
            picture = Image.fromarray(scene.image)
            picture.save(scenes / f"{scene.index:06d}.png")
            pixels.append(np.asarray(picture.resize((_PIXELS, _PIXELS)), np.float32).ravel())
        rows: dict[str, dict[str, float]] = {}
        for backbone in ("mini",) if quick else ("mini", "mini:cnn"):
            with open_collection(
                "scenes", str(Path(folder) / f"{backbone}.t2c"), clip="mini", backbone=backbone
            ) as images:
                images.index([scenes])
                labels, scores = _mapped(images, count)
                rows[f"map, {backbone}"] = _judged(labels, scores, truths)
    flat = np.array(pixels)
    apart = set_apart(flat, flat.mean(0))
    by_pixels = nearest_centre(apart, find_centres(apart, number_for(count), 0))
    rows["control: pixels"] = _judged(by_pixels, scores, truths)
    rows["anchor: by lot"] = _judged(np.random.default_rng(0).permutation(labels), scores, truths)
    columns = ("clusters", "shape, one object", "shape, any object", "background", "named right", "named, first 2")
    mapped = rows["map, mini"]
    return Measured(
        {"map": {"scenes": count, **rows}},
        [
            table(
                f"Clusters of {count} drawn scenes: purity, and names against the truth's largest effect", rows, columns
            )
        ],
        [
            Bar("map: purity of shape, scenes of one object", mapped["shape, one object"], PURE),
            Bar("map: clusters named for what sets them apart", mapped["named right"], NAMED),
        ],
    )


def _mapped(images: Collection, count: int) -> tuple[Labels, npt.NDArray[np.float32]]:
    """Return each scene's cluster and its cosines with the words, in the order drawn."""
    atlas = images.map(vocabulary=WORDS, layout="pca")
    known = images.searcher.texts.rows(WORDS)
    labels = np.empty(count, np.int32)
    scores = np.empty((count, len(WORDS)), np.float32)
    row = dict(zip(atlas.ids, atlas.labels, strict=True))
    for points in images.searcher.read(payload=("path",)):
        for at, point_id in enumerate(points.ids):
            scene = int(Path(points.payloads[at]["path"]).stem)
            labels[scene] = row[point_id]
            scores[scene] = (points.vectors["clip"][at] - images.searcher.calibration.mean) @ known.T
    return labels, scores


def _judged(labels: Labels, scores: npt.NDArray[np.float32], truths: Sequence[Truth]) -> dict[str, float]:
    """Measure clusters against the truth: the share of scenes that show what most of their cluster do, and the names."""
    shown = np.array([_shown(truth) for truth in truths])
    single = np.array([len(truth.things) == 1 for truth in truths])
    shapes, grounds = slice(0, len(SHAPES)), slice(len(SHAPES) + len(COLOURS), None)
    named, found = _tally(labels, scores), _tally(labels, shown.astype(np.float32))
    clusters = [int(each) for each in np.unique(labels)]
    best = [WORDS[int(np.nanargmax(found.effects(each)))] for each in clusters]
    words = [[trait.concept for trait in traits_of(named.effects(each), WORDS, 2)] for each in clusters]
    return {
        "clusters": len(clusters),
        "shape, one object": _purity(labels[single], shown[single, shapes]),
        "shape, any object": _purity(labels, shown[:, shapes]),
        "background": _purity(labels, shown[:, grounds]),
        "named right": float(np.mean([own[:1] == [true] for own, true in zip(words, best, strict=True)])),
        "named, first 2": float(np.mean([true in own for own, true in zip(words, best, strict=True)])),
    }


def _shown(truth: Truth) -> list[bool]:
    things = {name for thing in truth.things for name in (thing.shape, thing.colour)}
    grounds = [name == truth.background for name in BACKGROUNDS]
    return [*(name in things for name in (*SHAPES, *COLOURS)), *grounds]


def _tally(labels: Labels, scores: npt.NDArray[np.float32]) -> Tally:
    tally = Tally(int(labels.max()) + 1, scores.shape[1])
    tally.add(labels, scores)
    return tally


def _purity(labels: Labels, shown: npt.NDArray[np.bool_]) -> float:
    return float(sum(shown[labels == each].sum(0).max() for each in np.unique(labels)) / len(labels))
