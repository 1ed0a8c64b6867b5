"""What is described: pictures and directions of CLIP space, told in words and, where something says them, sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.describe.results import Description, Say, Word
from t2c_search.concepts.describe.sparse import SparseWords, unit
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.query.planning.texts import Texts
from t2c_search.types import FloatArray

Array = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Things to describe: their names, what words are found for (n, d), and where pictures of them lie (n, d)."""

    names: Sequence[str]
    centred: Array
    """Without the mean of the pictures, of any length."""
    points: FloatArray


def pictures(names: Sequence[str], rows: Array, mean: Array) -> Subjects:
    """Return pictures, or means of several, as subjects: rows (n, d) of CLIP space among pictures of this mean (d,)."""
    return Subjects(names, rows - mean, rows.astype(np.float32))


def directions(names: Sequence[str], rows: Array, mean: Array, texts: FloatArray) -> Subjects:
    """Return directions (n, d) of CLIP space as subjects, among pictures of a mean (d,) and texts (v, d).

    What they share with the means of pictures and texts says nothing: it is left out. A picture of a direction is thought
    as far from the pictures' mean as pictures are.
    """
    basis = np.linalg.qr(np.stack([mean, texts.mean(axis=0, dtype=np.float64)]).T).Q
    left = unit(rows - rows @ basis @ basis.T)
    away = max(1 - float(mean @ mean), 0) ** 0.5
    return Subjects(names, left, (mean + away * left).astype(np.float32))


class Words:
    """Describes subjects in the words of a vocabulary, and in what ``say`` says, if anything does."""

    def __init__(self, vocabulary: Vocabulary, texts: Texts, words: int, say: Say | None = None) -> None:
        """Embed the vocabulary. Raises UsageError for one of less than two concepts, or a number of words that cannot be."""
        self.vocabulary = vocabulary
        self.rows = texts.rows(vocabulary.names)
        self._sparse = SparseWords(self.rows, words)
        self._say = say

    def __call__(self, subjects: Subjects) -> Iterator[Description]:
        """Describe subjects, one after the other, all found together."""
        said = self._say(subjects.points) if self._say else [None] * len(subjects.names)
        names, groups = self.vocabulary.names, self.vocabulary.groups
        for subject, row, sentence in zip(subjects.names, self._sparse(subjects.centred), said, strict=True):
            pairs = zip(row.places.tolist(), row.weights.tolist(), strict=True)
            words = tuple(Word(names[at], weight, groups[at]) for at, weight in pairs)
            yield Description(subject, words, row.cosine, *(sentence or (None, None)))
