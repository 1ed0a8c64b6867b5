"""What an attribution is made of: a vector as a sum over the parts of what was embedded."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """n unit vectors of CLIP space, each a sum over its m parts: ``vectors = base + parts.sum(1) + residual``.

    The parts are an image's places or a text's tokens. A pair's score is a dot product, so that what a place and a token
    give to it is the dot product of their parts (Moeller et al. 2025, equation 5, factorised: A = U V'): neither side's
    parts depend on the other, and an image's serve every text. All tensors are float32, or float64 where the model is, on
    one device.
    """

    vectors: torch.Tensor
    """(n, d): what the model and the projection give, unit rows."""
    base: torch.Tensor
    """(n, d): what no part gives: an aligner's bias, and the vector of the reference that parts are compared with."""
    parts: torch.Tensor
    """(n, m, d)"""
    method: str
    """The way they were made, a name of ``methods.METHODS``."""

    @property
    def residual(self) -> torch.Tensor:
        """What of each vector neither base nor parts account for, (n, d)."""
        return self.vectors - self.base - self.parts.sum(1)


@dataclass(frozen=True, slots=True, eq=False)
class PlaceFactors(Factors):
    """Factors whose parts are the cells of a ``grid`` (rows, columns) that lies over the pixels, row by row."""

    grid: tuple[int, int]
