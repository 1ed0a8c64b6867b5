"""What the best region of an image says: cosines that are a maximum over its places, from kept factors.

A maximum is convex in what it is of, so that no tangent bounds it from above: such cosines are read off every image that counts,
and calibrated on a reservoir of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from t2c_search.attribution.stored import FactorReader
from t2c_search.query.planning.calibration import Array
from t2c_search.types import CLIP, FACTORS, FloatArray, Points

RESERVOIR = 1024
"""Images that thresholds of regions come from: a mean of theirs is off by 3 % of a standard deviation, as a rule."""
AT_ONCE = 128
"""Images whose factors are read at once: 8 MiB as a store gives them."""


def best_regions(reader: FactorReader, points: Points, directions: Array) -> Array:
    """Return the best cosine of k unit directions (k, d) over each of n images' places, (n, k); NaN where factors lack."""
    found = np.full((len(points), len(directions)), np.nan)
    for start in range(0, len(points), AT_ONCE):
        part = points.take(range(start, min(start + AT_ONCE, len(points))))
        for rows, factors in reader.read(part):
            found[start + np.array(rows)] = factors.best(directions)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Reservoir:
    """Some images of a collection that keeps factors: a uniform sample, as their ids, which are hashes, are the lowest."""

    reader: FactorReader
    points: Points
    """With their factors as bytes."""

    @classmethod
    def of(cls, reader: FactorReader, batches: Iterator[Points]) -> Reservoir:
        """Take images, in ascending order of id, until there are enough of them that have factors."""
        taken: list[Points] = []
        while sum(map(len, taken)) < RESERVOIR and (batch := next(batches, None)) is not None:
            there = [row for row, codes in enumerate(batch.multivectors[FACTORS]) if len(codes)]
            found = batch.take(there[: RESERVOIR - sum(map(len, taken))])
            held: list[Any] = [codes.astype(np.uint8) for codes in found.multivectors[FACTORS]]
            taken.append(replace(found, multivectors={FACTORS: held}))
        return cls(reader, Points.joined(taken))

    @property
    def rows(self) -> FloatArray:
        """Their vectors as whole images, (s, d)."""
        return self.points.vectors.get(CLIP, np.empty((0, 0), np.float32))

    def best(self, direction: Array) -> Array:
        """Return the best cosine of a unit direction (d,) over each image's places, (s,)."""
        return best_regions(self.reader, self.points, direction[None])[:, 0]
