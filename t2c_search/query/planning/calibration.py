"""What a cosine means in one collection: z-scores and percentiles of any concept, from kept statistics, with no scan.

Let x be a unit vector of the collection, m and S the mean and covariance of them all. The cosine t.x of a concept t has
mean t.m and variance t'St, so that z(x) = (t.x - t.m) / sqrt(t'St) is affine in x and says the same for every concept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from t2c_search.query.planning.tail import value_at
from t2c_search.statistics import VectorStatistics
from t2c_search.types import FloatArray

DEFAULT_SD = 1.1
"""What a bare concept must reach in ``mine`` and ``count``, in standard deviations.

Chosen by measurement (``benchmarks.constraints``): over the 20 most frequent nouns of real captions its mean F1 is 87 %
of what each noun's own best threshold gives. Rarer concepts want more, as far as 2 sd: mark examples for those.
"""
PLANNING_ROWS = 1024
"""Rows of the sample that plans are made from: what a plan guesses, the executor verifies."""
_LEAST_SD = 1e-6  # a collection whose images are all alike: every z is 0 rather than noise blown up
_NO_COSINE, _MOST_COSINE = -1.001, 1.0  # below every cosine, whatever single precision makes of it
NORMAL_95 = 1.96
"""Standard errors on either side of an estimate that make a 95 % interval."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A concept in one collection: unit direction (d,) float64, and mean and standard deviation of its cosines.

    ``covariance`` (d,) is that of its z-score with the vectors, 0 where all cosines are alike; ``sample`` (n,) are z-scores
    of some of them, to plan by. Where ``regions`` are given, cosines are the best over an image's places and not those of its
    vector: these (s,) are the reservoir's, and the sample is of its images.
    """

    direction: Array
    mean: float
    sd: float
    covariance: Array
    sample: Array
    regions: Array | None = None

    def z(self, cosines: Array) -> Array:
        """Map cosines to standard deviations above the collection's mean."""
        return (cosines - self.mean) / self.sd

    def is_same(self, other: Axis) -> bool:
        """Tell whether two axes give every image the same cosine."""
        return np.array_equal(self.direction, other.direction) and (self.regions is None) == (other.regions is None)

    def cosine(self, z: float) -> float:
        """Map standard deviations to a cosine."""
        return self.mean + z * self.sd


@dataclass(frozen=True, slots=True)
class Percentile:
    """The cosine that the highest-scoring share of a collection reaches, with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Calibration:
    """Mean, covariance and sample of a collection's vectors, in double precision."""

    def __init__(self, statistics: VectorStatistics) -> None:
        self.count = statistics.count
        self.mean: Array = statistics.mean
        self.covariance: Array = statistics.covariance
        self.sample: FloatArray = statistics.sample
        self.planning: Array = self.sample[:PLANNING_ROWS].astype(np.float64)

    def axis(self, direction: Array) -> Axis:
        """Calibrate a direction (d,) of any length."""
        unit = direction / np.linalg.norm(direction)
        covariance = np.einsum("ij,j->i", self.covariance, unit)  # small as they are, BLAS would wake all its threads
        mean, variance = float(unit @ self.mean), float(unit @ covariance)
        sd = max(variance, _LEAST_SD**2) ** 0.5
        if variance < _LEAST_SD**2:
            covariance = np.zeros_like(covariance)  # what rounding has left of it
        sample = (np.einsum("nd,d->n", self.planning, unit) - mean) / sd
        return Axis(unit, mean, sd, covariance / sd, sample)

    def regional_axis(self, direction: Array, regions: Array) -> Axis:
        """Calibrate a direction (d,) of any length by the best cosines (s,) that it has with the reservoir's images."""
        unit = direction / np.linalg.norm(direction)
        mean, sd = float(regions.mean()), max(float(regions.std()), _LEAST_SD)
        return Axis(unit, mean, sd, np.zeros_like(unit), (regions - mean) / sd, regions)

    def top(self, axis: Axis, percent: float) -> Percentile:
        """Find what the top ``percent`` of the collection reach, from its sample, with a normal interval.

        Exact, and at least the best image, where the sample is the whole collection. Otherwise shares below one row of the
        sample (0.024 % of 4,096) are read off its tail, continued, and the interval has no upper end but 1. All of the
        collection, 100 %, reaches a value below every cosine.
        """
        seen = cosines(self.sample, [axis])[:, 0] if axis.regions is None else axis.regions
        size = len(seen)
        if percent >= 100:
            return Percentile(_NO_COSINE, _NO_COSINE, _NO_COSINE)
        if not size:
            return Percentile(axis.mean, _NO_COSINE, _MOST_COSINE)
        ordered = np.sort(seen)[::-1]
        rank = (
            Fraction(str(percent)) * size / 100
        )  # of the number as typed: in floating point, 7 % of 100 is more than 7
        if size >= self.count:
            value = float(ordered[max(ceil(rank), 1) - 1])
            return Percentile(value, value, value)
        spread = NORMAL_95 * float(rank * (1 - rank / size) * (1 - Fraction(size, self.count))) ** 0.5
        above, below = floor(rank - spread), ceil(rank + spread)
        return Percentile(
            min(value_at(ordered, float(rank)), _MOST_COSINE),
            float(ordered[below - 1]) if below <= size else _NO_COSINE,
            float(ordered[above - 1]) if above >= 1 else _MOST_COSINE,
        )


def cosines(vectors: FloatArray, axes: Sequence[Axis]) -> Array:
    """Map (n, d) unit rows to their cosines with m axes, (n, m) float64.

    Not a matrix product: its rounding depends on where a row stands in the batch, and equal images must score equal,
    whichever search found them.
    """
    if not axes:
        return np.empty((len(vectors), 0))
    found: Array = np.einsum("nd,md->nm", vectors.astype(np.float64), np.stack([axis.direction for axis in axes]))
    return found
