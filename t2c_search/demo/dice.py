"""Random numbers that are the same on every machine and in every NumPy.

NumPy promises the raw stream of a bit generator for ever, but not what ``Generator`` makes of it, so the few
distributions needed here are made from the raw 64-bit integers. No floating point is involved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


class Dice:
    """A PCG64 stream named by its key: equal keys give equal rolls."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def between(self, low: int, high: int) -> int:
        """One integer in [low, high], both ends included."""
        return low + ((int(self._bits.random_raw()) >> 32) * (high - low + 1) >> 32)

    def chance(self, percent: int) -> bool:
        """True in ``percent`` of 100 rolls."""
        return self.between(1, 100) <= percent

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.between(0, len(options) - 1)]

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """``count`` different options, in random order."""
        left = list(options)
        return [left.pop(self.between(0, len(left) - 1)) for _ in range(count)]

    def field(self, *shape: int) -> npt.NDArray[np.int32]:
        """An array of the given shape, int32, uniform in [0, 255]."""
        size = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-size // 8)), dtype="<u8")
        return words.view(np.uint8)[:size].reshape(shape).astype(np.int32)
