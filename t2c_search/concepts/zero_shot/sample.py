"""A uniform sample of images, with their cosines: what is estimated of all images, or fitted by labels, is from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.zero_shot.keys import Keys, hashes
from t2c_search.concepts.zero_shot.rule import Indices
from t2c_search.types import FloatArray

MOST_IMAGES = 20_000
"""Of a sample: an estimated share is off by 0.35 points at most (one standard error)."""
_MOST_NUMBERS = 4_000_000  # cosines of a sample: 16 MB


class Sample:
    """The images whose ids hash lowest, which depend on nothing but the set of images: all, where there are not more."""

    def __init__(self, classes: int) -> None:
        self._most = min(MOST_IMAGES, _MOST_NUMBERS // classes)
        self._held: list[tuple[npt.NDArray[np.uint64], FloatArray, Indices]] = []
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self._most)

    def add(self, keys: Keys, cosines: FloatArray, labels: Indices) -> None:
        """Take in n images: keys (n, 2), cosines (n, k) and labels (n,)."""
        self._held.append((hashes(keys), cosines, labels))
        self._count += len(keys)
        if self._count > 2 * self._most:
            self._held = [self.taken()]
            self._count = self._most

    def taken(self) -> tuple[npt.NDArray[np.uint64], FloatArray, Indices]:
        """Return the sample: hashes (s,) in ascending order, cosines (s, k) and labels (s,)."""
        hashed, cosines, labels = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
        lowest = np.argsort(hashed)[: self._most]
        return hashed[lowest], cosines[lowest], labels[lowest]
