"""What an attribution is made of: a vector as a sum over the parts of what was embedded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch

from t2c_search.errors import T2CWarning

_LARGE = 0.05  # of what parts should add up to
_NOTHING = 1e-6  # a vector's length below which there is nothing to explain


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
    """(n, d): what no part gives: an aligner's bias, the vector of the reference that parts are compared with, and what came
    by tokens that are no parts, such as the class token."""
    parts: torch.Tensor
    """(n, m, d)"""
    method: str
    """The way they were made, a name of ``methods.METHODS``."""

    @property
    def residual(self) -> torch.Tensor:
        """What of each vector neither base nor parts account for, (n, d)."""
        return self.vectors - self.base - self.parts.sum(1)

    @property
    def unexplained(self) -> torch.Tensor:
        """The residual's length as a part of that of what the parts should add up to, (n,)."""
        lengths: torch.Tensor = (self.vectors - self.base).norm(dim=1)
        unexplained: torch.Tensor = self.residual.norm(dim=1) / lengths.clamp(min=_NOTHING)
        return unexplained


def warn_of_residual(found: Factors, of: str) -> bool:
    """Warn where the parts of some images or texts (``of``) miss what they should add up to by much; tell whether they do."""
    unexplained = found.unexplained
    if len(unexplained) and (worst := unexplained.max().item()) > _LARGE:
        warnings.warn(
            f"the factors of {int((unexplained > _LARGE).sum())} of {len(unexplained)} {of} leave up to {worst:.0%} of what "
            f"they should add up to unexplained (method {found.method}): read them with care",
            T2CWarning,
            stacklevel=3,
        )
        return True
    return False


class Token(NamedTuple):
    """A token of a text: how it is written, and where it lies there, ``text[start:stop]``; empty where it is not found."""

    written: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class TokenFactors(Factors):
    """Factors whose parts are the tokens of texts, in order; shorter texts' rows end with zeros."""

    tokens: tuple[tuple[Token, ...], ...]

    def of_span(self, row: int, start: int, stop: int) -> torch.Tensor:
        """Return the sum (d,) of the parts of a text's tokens that touch its characters from start to stop."""
        touched = [at for at, each in enumerate(self.tokens[row]) if each.start < stop and start < each.stop]
        return self.parts[row, touched].sum(0)


@dataclass(frozen=True, slots=True, eq=False)
class PlaceFactors(Factors):
    """Factors whose parts are the cells of a ``grid`` (rows, columns) that lies over the pixels, row by row."""

    grid: tuple[int, int]
