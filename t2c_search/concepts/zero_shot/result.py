"""What zero-shot classification returns: every image's class, and what is known of how right they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2c_search.concepts.zero_shot.judged import Judged
from t2c_search.concepts.zero_shot.keys import Keys, ids_of
from t2c_search.concepts.zero_shot.rule import Assigned
from t2c_search.query.planning.calibration import Array
from t2c_search.results import Column, Tabular


@dataclass(frozen=True, slots=True, eq=False)
class ClassFit:
    """What was fitted by the labels of a payload ``field``: on how many ``images``, the temperature (of cosines), the biases.

    ``biases`` (k,) are log odds. ``shares`` (k,) are those among the images classified, where they were estimated.
    """

    field: str
    images: int
    temperature: float
    biases: Array
    shares: Array | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        return {
            "field": self.field,
            "images": self.images,
            "temperature": self.temperature,
            "biases": self.biases.tolist(),
            "shares": None if self.shares is None else self.shares.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Classified(Tabular):
    """The class of each of n images, in ascending order of id: a row each of id, class, score, margin and confidence.

    The score is the cosine with the class's direction, shifted by what is the class's own; the margin is its lead over the
    second class. An image whose margin is below ``abstain`` has no class. There are confidences only where they were
    ``fitted`` by labels. In memory an image takes 28 bytes, or 32 with a confidence.
    """

    classes: tuple[str, ...]
    keys: Keys
    assigned: Assigned
    abstain: float = 0.0
    fitted: ClassFit | None = None
    judged: Judged | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def ids(self) -> list[str]:
        """The images' ids."""
        return ids_of(self.keys)

    @property
    def labels(self) -> list[str | None]:
        """Each image's class; None for those that have none."""
        return [None if at < 0 else self.classes[at] for at in self.places().tolist()]

    def places(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Return each image's class by its number (n,); -1 for those that have none."""
        return np.where(self.assigned.margins < self.abstain, np.int32(-1), self.assigned.classes)

    def counts(self) -> dict[str | None, int]:
        """Return how many images each class was given, in the order of the classes; under None, how many have none."""
        numbers = np.bincount(self.places() + 1, minlength=len(self.classes) + 1).tolist()
        return {**dict(zip(self.classes, numbers[1:], strict=True)), None: numbers[0]}

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each image."""
        given = self.assigned
        found: dict[str, Column] = {
            "id": self.ids,
            "class": self.labels,
            "score": given.scores,
            "margin": given.margins,
        }
        return found if given.confidences is None else {**found, "confidence": given.confidences}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, the images by columns."""
        counts = self.counts()
        return {
            "images": len(self),
            "abstained": counts.pop(None),
            "classes": [{"class": name, "images": number} for name, number in counts.items()],
            "abstain": self.abstain,
            "fitted": self.fitted and self.fitted.to_json(),
            "judged": self.judged and self.judged.to_json(),
            "labels": {
                name: column if isinstance(column, list) else np.asarray(column).astype(float).round(6).tolist()
                for name, column in self.columns().items()
            },
        }
