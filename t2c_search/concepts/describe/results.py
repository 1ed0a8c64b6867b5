"""What is told of vectors: words with their weights, and a sentence where something makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from t2c_search.results import Column, Tabular
from t2c_search.types import FloatArray

Say = Callable[[FloatArray], Sequence[tuple[str, float]]]
"""Points of CLIP space (n, d), of any length, to a sentence for each, with the cosine of the sentence's own vector."""


@dataclass(frozen=True, slots=True)
class Word:
    """A concept, its group in the vocabulary, and its weight in a description: at least 0, in parts of a unit vector."""

    name: str
    weight: float
    group: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """One thing in words, largest weight first.

    ``cosine`` tells how much the words say: that of the thing's vector with what they add up to, both without their means,
    1 for all of it. ``sentence_cosine`` is that of the sentence's own text vector with the thing's.
    """

    subject: str
    words: tuple[Word, ...]
    cosine: float
    sentence: str | None = None
    sentence_cosine: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Descriptions(Tabular):
    """Things in words of one vocabulary, one row each; ``to_arrow`` has their words and weights as lists."""

    things: tuple[Description, ...]
    vocabulary: str
    """What the words were chosen from."""
    concepts: int
    """How many those were."""

    def columns(self) -> Mapping[str, Column]:
        """Return ``subject``, ``words`` and ``weights`` as lists, ``cosine``, ``sentence`` and ``sentence_cosine``."""
        return {
            "subject": [each.subject for each in self.things],
            "words": [[word.name for word in each.words] for each in self.things],
            "weights": [[word.weight for word in each.words] for each in self.things],
            "cosine": [each.cosine for each in self.things],
            "sentence": [each.sentence for each in self.things],
            "sentence_cosine": [each.sentence_cosine for each in self.things],
        }

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        things = [each.to_json() for each in self.things]
        return {"vocabulary": self.vocabulary, "concepts": self.concepts, "things": things}
