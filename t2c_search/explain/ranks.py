"""Where images stand in the answer to an expression, and where they would stand without one of its literals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from t2c_search.explain.literals import Alternative, alternatives
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.planning.calibration import Array, cosines
from t2c_search.query.planning.normal_form import Conjunct, Conjunction
from t2c_search.query.planning.planner import Branch
from t2c_search.query.planning.regions import AT_ONCE
from t2c_search.stores.matching import matches
from t2c_search.types import CLIP, FACTORS, Points

_BATCH = 1000
Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Scorer:
    """Scores images by several expressions at once."""

    asked: tuple[tuple[Branch, ...], ...]

    @property
    def branches(self) -> tuple[Branch, ...]:
        """All that are asked, one after the other."""
        return tuple(branch for several in self.asked for branch in several)

    @property
    def conditions(self) -> tuple[Filter | None, ...]:
        """Each of their conditions, once."""
        return tuple(dict.fromkeys(branch.where for branch in self.branches))

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors that images must come with."""
        return tuple(dict.fromkeys((CLIP, *(name for branch in self.branches for name in branch.vectors))))

    def scores(self, points: Points, *, meeting: bool) -> Array:
        """Score n images by each expression, (expressions, n); minus infinity for those that it excludes.

        ``meeting`` says that they are known to meet the one condition there is, so that their payloads did not come along.
        """
        met = {
            where: np.array([meeting or matches(where, each) for each in points.payloads or [{}] * len(points)], bool)
            for where in self.conditions
        }
        axes = {id(axis): axis for branch in self.branches if branch.factors is None for axis in branch.axes}
        found = dict(zip(axes, cosines(points.vectors[CLIP], list(axes.values())).T, strict=True))  # each once for all
        scores = np.full((len(self.asked), len(points)), -np.inf)
        for own, branches in zip(scores, self.asked, strict=True):
            for branch in branches:
                if branch.factors is None and branch.axes:
                    cosine = np.stack([found[id(axis)] for axis in branch.axes], axis=1)
                else:
                    cosine = branch.cosines(points)
                passed = branch.passes(cosine) & met[branch.where]
                own[passed] = np.maximum(own[passed], branch.scores(cosine[passed]))
        return scores


def ranks(searcher: Searcher, asked: Sequence[Sequence[Alternative]], images: Points) -> Ranks:
    """Return the rank of each of n images by each of several expressions, (expressions, n); 0 where it is excluded.

    ``images`` come with payloads and the vectors that the expressions ask for (``vectors_of``). The ranks are exact: every vector
    of the collection that meets the expressions' conditions is read, once for all of them, in batches; nothing is asked of the
    index. Where expressions have several conditions, as those of an OR may, all vectors are read, with their payloads.
    """
    scorer = _Scorer(tuple(tuple(each.branch for each in several) for several in asked))
    own = scorer.scores(images, meeting=False)
    ids = np.array(images.ids, str)
    ahead = np.zeros(own.shape, np.int64)
    several = len(scorer.conditions) > 1
    where = None if several else next(iter(scorer.conditions), None)
    batch = AT_ONCE if FACTORS in scorer.vectors else _BATCH
    for points in searcher.store.scan(where=where, vectors=scorer.vectors, payload=several, batch_size=batch):
        theirs = scorer.scores(points, meeting=not several)
        earlier = np.array(points.ids)[:, None] < ids
        for row, scores, mine in zip(ahead, theirs, own, strict=True):
            row += ((scores[:, None] > mine) | (scores[:, None] == mine) & earlier).sum(axis=0)
    return np.where(np.isfinite(own), ahead + 1, 0)


def vectors_of(asked: Sequence[Alternative]) -> tuple[str, ...]:
    """Return the names of the vectors that images must come with, to be scored by an expression."""
    return _Scorer((tuple(each.branch for each in asked),)).vectors


def without(conjunctions: Sequence[Conjunction], literal: Conjunct, searcher: Searcher) -> tuple[Alternative, ...]:
    """Plan an expression without one of its literals, wherever that stands.

    An alternative of which no literal is left goes with it; nothing is left where there was no other.
    """
    left = [
        replace(each, conjuncts=tuple(other for other in each.conjuncts if other != literal)) for each in conjunctions
    ]
    told = [each for each, before in zip(left, conjunctions, strict=True) if each.conjuncts or not before.conjuncts]
    return alternatives(list(dict.fromkeys(told)), searcher.directions)
