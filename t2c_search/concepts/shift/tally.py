"""What is kept of one side while its images go by: sums and counts in every word, and a sample; nothing that grows with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from t2c_search.query.planning.calibration import Array, Calibration
from t2c_search.types import FloatArray

SAMPLE = 20_000
"""Images a side that are kept to rank and to permute: 40 MB of vectors at 512-d. Of more, a sample drawn by lot."""
BINS = 512
REACH = 5.0
"""Scores are counted in bins between this many standard deviations on either side of the centre; the outer two are open."""
_ROWS, _WORDS = 4096, 128  # scored at a time: 2 MB of scores, near to the processor
_LEAST_SD = 1e-6  # a collection whose images are all alike


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What makes scores of images of both sides alike: one ``centre`` (d,), and the words' ``directions`` (m, d).

    A score is a z-score: (x - centre) . direction, where a direction is a text's unit vector over the standard deviation
    ``sd`` (m,) of its cosines in the collection.
    """

    centre: Array
    directions: FloatArray
    sd: Array

    @classmethod
    def of(cls, calibrations: Sequence[Calibration], words: FloatArray) -> Scale:
        """Make that of words' unit rows (m, d) in one collection, or, by their shares, in several."""
        shares = np.array([each.count for each in calibrations], np.float64)
        shares /= shares.sum()
        centre = np.einsum("c,cd->d", shares, [each.mean for each in calibrations])
        inner = np.einsum("c,cde->de", shares, [each.covariance for each in calibrations])
        variance = np.einsum("md,md->m", words @ inner, words)
        sd = np.sqrt(np.maximum(variance, _LEAST_SD**2))
        return cls(centre, (words / sd[:, None]).astype(np.float32), sd)

    def centred(self, vectors: FloatArray) -> FloatArray:
        """Return rows (n, d) about the centre."""
        return (vectors - self.centre).astype(np.float32)


@dataclass(slots=True, eq=False)
class Counted:
    """Of one stratum: its number of images, sums and sums of squares (m,) of scores, and their counts in bins (m, BINS)."""

    total: Array
    squares: Array
    bins: npt.NDArray[np.int32]
    n: int = 0

    def add(self, rows: FloatArray, directions: FloatArray) -> None:
        """Take in rows (n, d) about the centre."""
        self.n += len(rows)
        for start in range(0, len(directions), _WORDS):
            part = slice(start, start + _WORDS)
            scores = rows @ directions[part].T
            self.total[part] += scores.sum(0, dtype=np.float64)
            self.squares[part] += np.einsum("nm,nm->m", scores, scores, dtype=np.float64)
            scores *= BINS / (2 * REACH)
            scores += BINS / 2
            places = np.clip(scores, 0, BINS - 1, out=scores).astype(np.int32)
            words = scores.shape[1]
            places += np.arange(0, words * BINS, BINS, dtype=np.int32)
            self.bins[part] += np.bincount(places.ravel(), minlength=words * BINS).reshape(words, BINS)


@dataclass(slots=True, eq=False)
class Kept:
    """Images drawn by lot from those that went by, in order of arrival: ids, rows (k, d) about the centre, strata."""

    ids: npt.NDArray[np.object_]
    rows: FloatArray
    strata: npt.NDArray[np.object_]
    lots: Array

    def __len__(self) -> int:
        return len(self.lots)

    def take(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Kept:
        """Return those of these places."""
        return Kept(self.ids[chosen], self.rows[chosen], self.strata[chosen], self.lots[chosen])

    def fewer(self, most: int) -> Kept:
        """Return as many of them at most, those of the lowest lots."""
        return self if len(self) <= most else self.take(np.sort(np.argpartition(self.lots, most)[:most]))

    @staticmethod
    def joined(parts: Sequence[Kept]) -> Kept:
        """Return several as one."""
        return Kept(*(np.concatenate([getattr(each, name) for each in parts]) for name in Kept.__slots__))


@dataclass(slots=True, eq=False)
class Tally:
    """One side, image by image. Scores are counted by stratum; ``seed`` draws the sample of at most ``SAMPLE`` images."""

    scale: Scale
    seed: int
    strata: dict[str, Counted] = field(default_factory=dict)
    _sampled: list[Kept] = field(default_factory=list)
    _waiting: list[Kept] = field(default_factory=list)
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def add(self, ids: Sequence[str], vectors: FloatArray, strata: Sequence[str]) -> None:
        """Take in n images: ids, unit rows (n, d), and the stratum of each."""
        rows, lots = self.scale.centred(vectors), self._rng.random(len(ids))
        self._waiting.append(Kept(np.array(ids, object), rows, np.array(strata, object), lots))
        if sum(map(len, self._waiting)) >= _ROWS:
            self._take_in()

    def finish(self) -> Kept:
        """Take in what still waits, and return the sample: all images where they are few enough."""
        self._take_in()
        nothing = np.empty(0, object)
        empty = Kept(nothing, np.empty((0, len(self.scale.centre)), np.float32), nothing, np.empty(0))
        return Kept.joined([empty, *self._sampled])

    def _take_in(self) -> None:
        """Count what waits, and keep what the lots say."""
        if not self._waiting:
            return
        batch = Kept.joined(self._waiting)
        self._waiting.clear()
        for stratum in dict.fromkeys(batch.strata):
            self._counted(stratum).add(batch.rows[batch.strata == stratum], self.scale.directions)
        self._sampled.append(batch)
        if sum(map(len, self._sampled)) > SAMPLE:
            self._sampled = [Kept.joined(self._sampled).fewer(SAMPLE)]

    def _counted(self, stratum: str) -> Counted:
        words = len(self.scale.directions)
        if stratum not in self.strata:
            self.strata[stratum] = Counted(np.zeros(words), np.zeros(words), np.zeros((words, BINS), np.int32))
        return self.strata[stratum]
