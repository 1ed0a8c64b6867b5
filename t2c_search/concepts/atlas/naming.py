"""What a cluster shows more of than the other images, in the words of a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.effects import Array, Group, hedges_g


@dataclass(frozen=True, slots=True)
class Trait:
    """A concept of the vocabulary, and by how much a cluster's images show more of it than all others: Hedges' g."""

    concept: str
    g: float


class Tally:
    """Sums of concept scores by cluster, taken in batch by batch; their size is clusters times concepts."""

    def __init__(self, clusters: int, concepts: int) -> None:
        self.counts = np.zeros(clusters, np.int64)
        self._sums = np.zeros((clusters, concepts))
        self._squares = np.zeros((clusters, concepts))

    def add(self, labels: npt.NDArray[np.int32], scores: npt.NDArray[np.floating]) -> None:
        """Take in the scores (n, v) of images of these clusters (n,); near 0 on average, so that no digits are lost."""
        exact = scores.astype(np.float64)
        for cluster in np.unique(labels):
            own = exact[labels == cluster]
            self.counts[cluster] += len(own)
            self._sums[cluster] += own.sum(0)
            self._squares[cluster] += (own**2).sum(0)

    def effects(self, cluster: int) -> Array:
        """Return Hedges' g (v,) of each concept: this cluster's images against all others."""
        others = np.arange(len(self.counts)) != cluster
        return hedges_g(self._group(~others), self._group(others))

    def _group(self, chosen: npt.NDArray[np.bool_]) -> Group:
        number = int(self.counts[chosen].sum())
        mean = self._sums[chosen].sum(0) / max(number, 1)
        variance = self._squares[chosen].sum(0) / max(number, 1) - mean**2
        return Group(number, mean, np.maximum(variance, 0) * number / max(number - 1, 1))


def traits_of(effects: Array, words: Sequence[str], most: int) -> tuple[Trait, ...]:
    """Return the words of highest positive g, at most so many, the highest first; ties in the vocabulary's order."""
    order = np.argsort(-np.nan_to_num(effects, posinf=np.finfo(float).max), kind="stable")[:most]
    return tuple(Trait(words[at], float(effects[at])) for at in order if np.isfinite(effects[at]) and effects[at] > 0)


def name_clusters(traits: Sequence[Sequence[Trait]]) -> list[str]:
    """Return a name of its own for each cluster: its first word, as many more as tell it from others, or else a number."""
    wanted = [[trait.concept for trait in own] for own in traits]
    names: list[str] = []
    for at in range(len(wanted)):
        name = _shortest(at, wanted)
        numbered = (f"{name or 'cluster'} {number}" for number in count(2 if name else 1))
        names.append(name if name and name not in names else next(each for each in numbered if each not in names))
    return names


def _shortest(cluster: int, words: Sequence[Sequence[str]]) -> str:
    own = words[cluster]
    for length in range(1, len(own) + 1):
        if all(list(other[:length]) != list(own[:length]) for at, other in enumerate(words) if at != cluster):
            return ", ".join(own[:length])
    return ", ".join(own)
