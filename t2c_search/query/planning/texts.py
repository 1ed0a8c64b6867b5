"""Texts to vectors: every way of putting one, embedded once and remembered."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.query.language.bounds import check_texts
from t2c_search.query.planning.calibration import Array
from t2c_search.query.planning.remembered import Remembered
from t2c_search.types import FloatArray

EmbedTexts = Callable[[Sequence[str]], FloatArray]
"""n texts to unit rows (n, d) float32."""

PROMPTS = ("{}", "a {}", "the {}")
"""A text's direction is the mean over these, which follow from what is left of it without ``_LEAD``: "a dog", "the dog" and
"dog" mean the same. Against other wordings they help little; several texts for a concept do (``benchmarks.paraphrase``)."""
JOINERS = (", ", " and ")
"""How texts that must hold together are put into one sentence: commas rank better than most conjunctions."""
CACHED_TEXTS = 4096
_REMEMBERED_LISTS = 4  # vocabularies, each of thousands of texts
_BATCH = 128  # texts of a vocabulary embedded at a time, each with its prompts

_LEAD = re.compile(
    r"^(?:(?:(?:an?|the)\s+)?(?:photo|picture|image|photograph)s?\s+(?:of|with|showing)\s+|there\s+(?:is|are)\s+)?"
    r"(?:(?:an?|the)\s+)?(?=\S)",
    re.IGNORECASE,
)
"""What people put before the thing itself."""


class Texts:
    """The vectors of texts in one text model's space, for all threads and for as long as the model stays the same.

    A text is embedded together with the other ways of putting it, and remembered. No other text is in that batch: its
    size shows in a vector's last digits, and a text must mean the same alone and among others. ``free_text`` False is for
    text encoders of a closed vocabulary: texts are embedded as typed, and never joined.
    """

    def __init__(self, embed_texts: EmbedTexts, free_text: bool = True) -> None:
        self.free_text = free_text
        self._embed_texts = embed_texts
        self._means: Remembered[tuple[str, ...], Array] = Remembered(CACHED_TEXTS)
        self._lists: Remembered[tuple[str, ...], FloatArray] = Remembered(_REMEMBERED_LISTS)

    def vector(self, text: str) -> Array:
        """Mean vector (d,) float64 of a text's prompts."""
        return self._mean(self.prompts(text))

    def rows(self, texts: Sequence[str]) -> FloatArray:
        """Unit rows (n, d) float32 of many texts, each the mean of its prompts, embedded in batches: for vocabularies.

        A row may differ from ``vector`` in its last digits, by the batch it was embedded in. The last few lists are
        remembered, and may not be written into.
        """
        key = tuple(texts)
        rows = self._lists.get(key)
        if rows is None:
            rows = self.means([self.prompts(text) for text in key])
            rows.setflags(write=False)
            self._lists.put(key, rows)
        return rows

    def means(self, groups: Sequence[Sequence[str]]) -> FloatArray:
        """Unit rows (n, d) float32, each the mean of one group of texts, which are embedded as they stand."""
        found: list[Array] = []
        for start in range(0, len(groups), _BATCH):
            batch = groups[start : start + _BATCH]
            embedded = self._embed_texts([each for several in batch for each in several]).astype(np.float64)
            found += [part.mean(axis=0) for part in np.split(embedded, np.cumsum([len(each) for each in batch])[:-1])]
        return np.array([_unit(row) for row in found], np.float32)

    def whole(self, texts: Sequence[str]) -> FloatArray:
        """Unit rows (n, d) float32 of sentences as they stand, such as captions: no other way of putting them is tried."""
        parts = [self._embed_texts(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(parts).astype(np.float32, copy=False)

    def joint(self, texts: tuple[str, ...]) -> Array:
        """Mean vector (d,) float64 of several texts at once, put into one sentence each way."""
        return self._mean(sentences(texts))

    def worded(self, wordings: Sequence[str]) -> Array:
        """Unit direction (d,) float64 of one thing put in several wordings: the mean of theirs, a paraphrase ensemble.

        Raises UsageError for an empty one, and for too many or too long ones.
        """
        check_texts(wordings)
        if not all(wording.strip() for wording in wordings):
            raise UsageError("one of the texts for the concept is empty: leave it out, or say what it shows")
        found: Array = np.mean([_unit(self.vector(wording)) for wording in wordings], axis=0)
        return _unit(found)

    def prompts(self, text: str) -> tuple[str, ...]:
        """Put a text in every way that its direction is the mean of."""
        if not self.free_text:
            return (text,)
        return tuple(prompt.format(_LEAD.sub("", text.strip())) for prompt in PROMPTS)

    def _mean(self, batch: tuple[str, ...]) -> Array:
        """Embed a batch of texts, unless it is remembered, and return the mean of its vectors."""
        found = self._means.get(batch)
        if found is None:
            found = self._embed_texts(batch).astype(np.float64).mean(axis=0)
            self._means.put(batch, found)
        return found


def sentences(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Put texts into one sentence each way: every joining word, every rotation of their order."""
    rotations = [texts[start:] + texts[:start] for start in range(len(texts))]
    return tuple(joiner.join(rotation) for joiner in JOINERS for rotation in rotations)


def _unit(vector: Array) -> Array:
    unit: Array = vector / np.linalg.norm(vector)
    return unit
