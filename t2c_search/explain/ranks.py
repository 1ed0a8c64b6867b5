"""Where images stand in the answer to an expression, and where they would stand without one of its literals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from t2c_search.explain.literals import Alternative, alternatives
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.planning.calibration import Array, Axis, cosines
from t2c_search.query.planning.normal_form import Conjunct, Conjunction
from t2c_search.query.planning.planner import Branch
from t2c_search.stores.matching import matches
from t2c_search.types import CLIP, Points

_BATCH = 1000
Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Scorer:
    """Scores images by several expressions at once, each concept's cosine computed once for all."""

    asked: tuple[tuple[Branch, ...], ...]
    axes: tuple[Axis, ...]

    @classmethod
    def of(cls, asked: Sequence[Sequence[Alternative]]) -> _Scorer:
        branches = tuple(tuple(each.branch for each in several) for several in asked)
        axes = {id(axis): axis for several in branches for branch in several for axis in branch.axes}
        return cls(branches, tuple(axes.values()))

    @property
    def conditions(self) -> tuple[Filter | None, ...]:
        return tuple(dict.fromkeys(branch.where for several in self.asked for branch in several))

    def scores(self, points: Points, *, meeting: bool) -> Array:
        """Score n images by each expression, (expressions, n); minus infinity for those that it excludes.

        ``meeting`` says that they are known to meet the one condition there is, so that their payloads did not come along.
        """
        found = cosines(points.vectors[CLIP], self.axes)
        at = {id(axis): column for column, axis in enumerate(self.axes)}
        met = {
            where: np.array([meeting or matches(where, each) for each in points.payloads or [{}] * len(points)], bool)
            for where in self.conditions
        }
        scores = np.full((len(self.asked), len(points)), -np.inf)
        for own, branches in zip(scores, self.asked, strict=True):
            for branch in branches:
                cosine = found[:, [at[id(axis)] for axis in branch.axes]]
                passed = branch.passes(cosine) & met[branch.where]
                own[passed] = np.maximum(own[passed], branch.scores(cosine[passed]))
        return scores


def ranks(searcher: Searcher, asked: Sequence[Sequence[Alternative]], images: Points) -> Ranks:
    """Return the rank of each of n images by each of several expressions, (expressions, n); 0 where it is excluded.

    ``images`` come with their ``clip`` vectors and payloads. The ranks are exact: every vector of the collection that meets
    the expressions' conditions is read, once for all of them, in batches; nothing is asked of the index. Where expressions have
    several conditions, as those of an OR may, all vectors are read, with their payloads.
    """
    scorer = _Scorer.of(asked)
    own = scorer.scores(images, meeting=False)
    ids = np.array(images.ids)
    ahead = np.zeros(own.shape, np.int64)
    several = len(scorer.conditions) > 1
    where = None if several else next(iter(scorer.conditions), None)
    for points in searcher.store.scan(where=where, vectors=(CLIP,), payload=several, batch_size=_BATCH):
        theirs = scorer.scores(points, meeting=not several)
        earlier = np.array(points.ids)[:, None] < ids
        for row, scores, mine in zip(ahead, theirs, own, strict=True):
            row += ((scores[:, None] > mine) | (scores[:, None] == mine) & earlier).sum(axis=0)
    return np.where(np.isfinite(own), ahead + 1, 0)


def without(conjunctions: Sequence[Conjunction], literal: Conjunct, searcher: Searcher) -> tuple[Alternative, ...]:
    """Plan an expression without one of its literals, wherever that stands.

    An alternative of which no literal is left goes with it; nothing is left where there was no other.
    """
    left = [
        replace(each, conjuncts=tuple(other for other in each.conjuncts if other != literal)) for each in conjunctions
    ]
    told = [each for each, before in zip(left, conjunctions, strict=True) if each.conjuncts or not before.conjuncts]
    return alternatives(list(dict.fromkeys(told)), searcher.directions)
