"""The images of both sides that were drawn by lot, side by side: what is ranked, permuted and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.shift.tally import Kept
from t2c_search.query.planning.calibration import Array
from t2c_search.types import FloatArray

Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """n images: ids, rows (n, d) about the centre, which are of A, and the places of each stratum's."""

    ids: npt.NDArray[np.object_]
    rows: FloatArray
    is_a: Bools
    strata: tuple[Places, ...]

    @classmethod
    def of(cls, kept: tuple[Kept, Kept], strata: Sequence[str], most: int) -> Sample:
        """Put at most ``most`` images a side together, of these strata alone."""
        sides = [side.take(np.isin(side.strata, strata)).fewer(most) for side in kept]
        both = Kept.joined(sides)
        is_a = np.arange(len(both)) < len(sides[0])
        return cls(both.ids, both.rows, is_a, tuple(np.flatnonzero(both.strata == value) for value in strata))

    @property
    def images(self) -> tuple[int, int]:
        """How many are of A and of B."""
        return int(self.is_a.sum()), int((~self.is_a).sum())

    def difference(self) -> Array:
        """Return the mean row of A less that of B (d,); strata are weighed by nA nB / (nA + nB)."""
        found, weights = np.zeros(self.rows.shape[1]), 0.0
        for a, b in self._pairs():
            weight = len(a) * len(b) / (len(a) + len(b))
            found += weight * (self.rows[a].mean(0, dtype=np.float64) - self.rows[b].mean(0, dtype=np.float64))
            weights += weight
        return found / weights

    def covariance(self) -> Array:
        """Return that of the rows (d, d) within a side of a stratum."""
        parts = [places for pair in self._pairs() for places in pair]
        found = np.zeros((self.rows.shape[1],) * 2)
        for places in parts:
            rows = self.rows[places].astype(np.float64)
            rows -= rows.mean(0)
            found += rows.T @ rows
        return found / max(sum(map(len, parts)) - len(parts), 1)

    def _pairs(self) -> list[tuple[Places, Places]]:
        pairs = ((places[self.is_a[places]], places[~self.is_a[places]]) for places in self.strata)
        return [(a, b) for a, b in pairs if len(a) and len(b)]
