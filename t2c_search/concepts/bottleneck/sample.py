"""The labelled images that a bottleneck is fitted on: a uniform sample of those whose field has one value."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.errors import UsageError, brief
from t2c_search.filters import Scalar
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.execution.selection import values_of
from t2c_search.query.language.constraints import Constraint
from t2c_search.types import CLIP, NATIVE, FloatArray, Points

MOST_IMAGES = 4000
"""Labelled images that a bottleneck is fitted on: an accuracy is then told to 1.6 points (95 % interval)."""
LEAST_IMAGES = 10
"""Of a value, for it to be a class: two for each fold."""
MOST_CLASSES = 100

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """n labelled images: unit rows ``vectors`` (n, d) of CLIP space, and ``labels`` (n,), each the place of its class.

    ``native`` (n, e) are the backbone's own rows, where they are kept. ``found`` images had one value, of which these are a
    sample; ``rare`` are the values that too few of them have.
    """

    vectors: FloatArray
    labels: Labels
    classes: tuple[Scalar, ...]
    found: int
    native: FloatArray | None = None
    rare: tuple[Scalar, ...] = ()


def read_labelled(searcher: Searcher, tree: Constraint | None, field: str, *, native: bool) -> Labelled:
    """Read the images whose field has one value; the ``MOST_IMAGES`` whose ids hash lowest, a uniform sample, are kept.

    Raises UsageError unless at least two values have ``LEAST_IMAGES`` images of the sample each.
    """
    names = (CLIP, NATIVE) if native else (CLIP,)
    kept: list[tuple[Points, list[Scalar]]] = []
    found = 0
    for points in searcher.read(tree, vectors=names, payload=(field,)):
        values = [values_of(payload, field) for payload in points.payloads]
        rows = [row for row, each in enumerate(values) if len(each) == 1]
        found += len(rows)
        if rows:
            kept.append((points.take(rows), [values[row][0] for row in rows]))
        if sum(len(part) for part, _ in kept) > 2 * MOST_IMAGES:
            kept = [_lowest(kept)]
    if not kept:
        raise UsageError(f"no image has one value of {field!r}: label some, or name another field")
    points, labels = _lowest(kept)
    return _labelled(points, labels, field, found)


def _lowest(parts: Sequence[tuple[Points, list[Scalar]]]) -> tuple[Points, list[Scalar]]:
    points = Points.joined([part for part, _ in parts])
    labels = [label for _, several in parts for label in several]
    keys = np.array([uuid.UUID(each).int & (2**62 - 1) for each in points.ids], np.uint64)  # ids are hashes of paths
    lowest = np.sort(np.argsort(keys)[:MOST_IMAGES]).tolist()
    return points.take(lowest), [labels[row] for row in lowest]


def _labelled(points: Points, values: Sequence[Scalar], field: str, found: int) -> Labelled:
    counts = Counter(map(_key, values))
    named = dict(zip(map(_key, values), values, strict=True))
    ordered = sorted(named, key=lambda key: (key[0], named[key]))
    classes = [key for key in ordered if counts[key] >= LEAST_IMAGES]
    if not 2 <= len(classes) <= MOST_CLASSES:
        often = ", ".join(f"{brief(str(named[key]), 40)} ({count})" for key, count in counts.most_common(5))
        raise UsageError(
            f"{len(classes)} values of {field!r} have {LEAST_IMAGES} images or more, of {found} with one value ({often}); "
            f"a bottleneck tells apart 2 to {MOST_CLASSES}"
        )
    place = {key: at for at, key in enumerate(classes)}
    rows = [row for row, value in enumerate(values) if _key(value) in place]
    taken = points.take(rows)
    return Labelled(
        taken.vectors[CLIP],
        np.array([place[_key(values[row])] for row in rows], np.int64),
        tuple(named[key] for key in classes),
        found,
        taken.vectors.get(NATIVE),
        tuple(named[key] for key in ordered if key not in place),
    )


def _key(value: Scalar) -> tuple[str, Scalar]:
    """Tell True from 1."""
    return type(value).__name__, value
