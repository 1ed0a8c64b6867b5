"""A half-space of z-scores as a search of the vector store, single precision accounted for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2c_search.query.planning.halfspace import HalfSpace
from t2c_search.query.planning.planner import Branch
from t2c_search.query.planning.tail import rank_at
from t2c_search.types import CLIP, FloatArray, ScoredPoints, VectorQuery

_SINGLE_ULP = 2.0**-24


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One search of a branch. The half-space is ``vector`` (d,) dot x >= ``floor``, up to ``slack`` either way."""

    branch: Branch
    half: HalfSpace
    vector: FloatArray
    length: float
    constant: float
    slack: float

    @property
    def floor(self) -> float:
        """Store score that everything in the half-space exceeds, however the store rounds."""
        return (self.half.level + self.constant) / self.length - 2 * self.slack

    @property
    def ceiling(self) -> float:
        """Store score that nothing outside the half-space exceeds, however the store rounds."""
        return self.floor + 4 * self.slack

    def query(self, limit: int, *, enclosed: bool, exact: bool, hnsw_ef: int | None = None) -> VectorQuery:
        """Ask for the ``limit`` furthest into the half-space, or only for those ``enclosed`` in it."""
        return VectorQuery(
            self.vector,
            limit,
            where=self.branch.where,
            min_score=self.floor if enclosed else None,
            exact=exact,
            hnsw_ef=hnsw_ef,
            with_vectors=(CLIP,),
        )

    def bound(self, answer: ScoredPoints, limit: int, *, enclosed: bool) -> float:
        """Highest score that an image can have which this answer to the query did not return."""
        if len(answer) >= limit:
            seen = float(answer.scores[-1]) + self.slack
        elif enclosed:
            seen = (
                min(self.floor, 1.0) + self.slack
            )  # all are unit vectors: a score out of their reach has a bound, too
        else:
            return -np.inf
        return self.half.best_below(seen * self.length - self.constant)

    def share(self) -> float:
        """Estimate the share of the collection that the half-space holds, from its sample."""
        if not len(self.branch.sample):
            return 1.0
        depths = np.einsum("nm,m->n", self.branch.sample, self.half.normal)
        return rank_at(np.sort(depths)[::-1], self.half.level) / len(depths)


def aim(branch: Branch, half: HalfSpace) -> Probe:
    """Turn a half-space of a branch's z-scores into a search."""
    slopes = half.normal / np.array([axis.sd for axis in branch.axes])
    direction = slopes @ np.array([axis.direction for axis in branch.axes])
    length = float(np.linalg.norm(direction)) or 1.0
    constant = float(slopes @ np.array([axis.mean for axis in branch.axes]))
    slack = (len(direction) + 2) * _SINGLE_ULP  # rounding of a dot product of unit vectors, and of the query itself
    return Probe(branch, half, (direction / length).astype(np.float32), length, constant, slack)
