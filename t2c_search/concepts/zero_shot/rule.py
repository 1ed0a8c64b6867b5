"""How scores become classes: cosines, and what is added to each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from t2c_search.query.planning.calibration import Array
from t2c_search.types import FloatArray

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """What a rule says of n images: their best class (n,), its score and margin over the second, and the confidence in it.

    ``confidences`` is None where nothing was calibrated.
    """

    classes: Indices
    scores: FloatArray
    margins: FloatArray
    confidences: FloatArray | None

    def take(self, rows: npt.NDArray[np.intp]) -> Assigned:
        """Return those of these rows, in that order."""
        sure = None if self.confidences is None else self.confidences[rows]
        return Assigned(self.classes[rows], self.scores[rows], self.margins[rows], sure)

    @staticmethod
    def joined(parts: Sequence[Assigned]) -> Assigned:
        """Return several as one; none is of no image."""
        nothing = np.empty(0, np.float32)
        sure = [part.confidences for part in parts if part.confidences is not None]
        return Assigned(
            np.concatenate([np.empty(0, np.int32), *(part.classes for part in parts)]),
            np.concatenate([nothing, *(part.scores for part in parts)]),
            np.concatenate([nothing, *(part.margins for part in parts)]),
            np.concatenate(sure) if sure else None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A class's score is an image's cosine with it plus the class's offset (k,); the best one is the image's class.

    All that is known of a collection or its labels is an offset: its mean's cosine less, a bias, log odds of shares, a
    price. The softmax of the scores times ``slope``, one over the temperature, is the confidence, where that was fitted.
    """

    offsets: Array
    slope: float | None = None

    def shifted(self, by: Array) -> Rule:
        """Return the rule that adds these (k,) to the classes' scores too."""
        return replace(self, offsets=self.offsets + by)

    def log_posteriors(self, cosines: FloatArray) -> Array:
        """Map cosines (n, k) to the log probabilities of the classes (n, k). Only for a rule with a slope."""
        assert self.slope is not None
        found: Array = log_softmax(self.slope * (cosines + self.offsets), axis=1)
        return found

    def assign(self, cosines: FloatArray) -> Assigned:
        """Assign n images by their cosines (n, k) with k classes, two or more."""
        scores = cosines + self.offsets
        rows = np.arange(len(scores))
        best = scores.argmax(1)
        top = scores[rows, best]
        scores[rows, best] = -np.inf
        margins = top - scores.max(1)
        scores[rows, best] = top
        sure = None
        if self.slope is not None:
            sure = np.float32(1) / np.exp(self.slope * (scores - top[:, None])).sum(1).astype(np.float32)
        return Assigned(best.astype(np.int32), top.astype(np.float32), margins.astype(np.float32), sure)
