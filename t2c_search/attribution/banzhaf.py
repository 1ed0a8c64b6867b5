"""Factors from masked forward passes alone: for any encoder, whatever is inside it.

The weighted Banzhaf value of a place is what it adds on average: v_p = E[g(S with p) - g(S without p)], where each other
place is in S with probability q, and g(S) is the vector of the pixels whose places outside S are those of the reference.
That is also the slope of the best additive model of g under those masks; and for a dual encoder the products of both sides'
values are the cross pairs of the best second-order model (FIxLIP, Baniecki et al., NeurIPS 2025, weighted Banzhaf interactions of
order 2), because its score is the dot product of two vectors that are masked apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from t2c_search.alignment.aligner import Aligner
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.projection import Unprojected, hold
from t2c_search.errors import UsageError

KEPT = 0.7
"""Probability that a mask keeps a place: FIxLIP's, near enough to whole images for a model to know them."""
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridges to choose from, in units of what the masks tell of one place."""
_FORWARD = 64  # masked images in one forward pass


@dataclass(frozen=True, slots=True)
class Masks:
    """Which pixels are masked: the cells of a ``grid`` (rows, columns), in so many random masks, the same for a seed.

    Where there are not more masks than that, all 2^m are taken, each with its probability, and nothing is estimated.
    """

    grid: tuple[int, int] = (7, 7)
    number: int = 128
    kept: float = KEPT
    seed: int = 0

    def __post_init__(self) -> None:
        rows, columns = self.grid
        if rows < 1 or columns < 1 or self.number < 2 or not 0 < self.kept < 1:
            raise UsageError(
                f"masks of grid {self.grid}, {self.number} of them, keeping {self.kept}, tell nothing: expected a grid of at "
                "least 1 x 1, 2 masks or more, and a share between 0 and 1"
            )

    @property
    def exhaustive(self) -> bool:
        """Whether all masks that there are are taken."""
        places = self.grid[0] * self.grid[1]
        return places < 63 and 2**places <= self.number

    def drawn(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks (k, m), 1.0 where a place is kept, and their weights (k,), which sum to 1; float64."""
        places = self.grid[0] * self.grid[1]
        if not self.exhaustive:
            draws = torch.rand(self.number, places, generator=torch.Generator().manual_seed(self.seed))
            return (draws < self.kept).double(), torch.full((self.number,), 1 / self.number, dtype=torch.float64)
        masks = (torch.arange(2**places)[:, None] >> torch.arange(places) & 1).double()
        number = masks.sum(1)
        return masks, self.kept**number * (1 - self.kept) ** (places - number)


@dataclass(frozen=True, slots=True, eq=False)
class BanzhafFactors(PlaceFactors):
    """Factors estimated from masks, with what vouches for them, for each of the n images.

    They add up to the vectors of masked images as well as the fit says, and not to the whole image's: its ``residual`` is how
    far the additive model is off at the one mask that keeps all. A low ``r2`` means that places act together, or too few masks.
    """

    r2: torch.Tensor
    """(n,): of the masked images' vectors, each predicted from the other masks (exhaustive: from all)."""
    spearman: torch.Tensor
    """(n,): of their dot products with the image's own vector, predicted likewise."""
    standard_errors: torch.Tensor
    """(n, m): root of the expected square of each factor's error, a length in CLIP space; 0 where masks are exhaustive."""


def factors(
    encoder: Any, aligner: Aligner | Unprojected | None, pixels: torch.Tensor, masks: Masks = Masks()
) -> BanzhafFactors:
    """Return the places' factors of n images by masked forward passes, ``masks.number`` for each.

    ``pixels`` are (n, c, h, w) as ``normalise`` gives them, or what ``encode_images`` takes of an encoder without; zeros are the
    reference: the mean colour. g is the whole way to unit vectors of CLIP space, so that the norms of encoder and aligner are
    not held but explained along. The additive model is fitted by ridge regression, its strength chosen for each image by the
    leave-one-out R2 that is reported: through the mini CLIP, 128 masks of drawn scenes predict others with an R2 of 0.14 so,
    against -0.08 of the unbiased contrasts and -0.18 of plain least squares, and 256 with 0.20 against 0.11 and 0.14.
    Raises UsageError for a grid with more cells than pixels.
    """
    forward = _to_clip(encoder, aligner)
    cells = _cells(masks.grid, pixels)
    kept, weights = masks.drawn()
    vectors = forward(pixels)
    seen = torch.stack([_masked(forward, image, kept.to(pixels)[:, cells]) for image in pixels])  # (n, k, d)
    base, parts, predicted, errors = additive(masks, seen)
    weights = weights.to(seen)
    centre = torch.einsum("k,nkd->nd", weights, seen).unsqueeze(1)
    spread, missed = (torch.einsum("k,nkd->n", weights, (seen - other) ** 2) for other in (centre, predicted))
    tiny = torch.finfo(seen.dtype).tiny
    return BanzhafFactors(
        vectors,
        base,
        parts,
        "banzhaf",
        masks.grid,
        1 - missed / spread.clamp_min(tiny),
        _rank_correlation((seen * vectors[:, None]).sum(2), (predicted * vectors[:, None]).sum(2)),
        errors,
    )


def additive(masks: Masks, seen: torch.Tensor) -> _Fit:
    """Return the best additive model of what was ``seen`` (n, k, d) under the k masks that ``masks.drawn`` gives."""
    kept, weights = (each.to(seen) for each in masks.drawn())
    return _expected(kept, weights, seen, masks.kept) if masks.exhaustive else _fitted(kept, seen, masks.kept)


def _to_clip(encoder: Any, aligner: Aligner | Unprojected | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the way from pixels to unit rows of CLIP space, in the precision that the encoder has."""
    embed = encoder.embed if hasattr(encoder, "embed") else encoder.encode_images

    @torch.no_grad()
    def forward(pixels: torch.Tensor) -> torch.Tensor:
        rows = embed(pixels)
        held = hold(rows, aligner)
        return held.base + held.map(rows)

    return forward


def _cells(grid: tuple[int, int], pixels: torch.Tensor) -> torch.Tensor:
    """Return which cell each pixel lies in, (h, w)."""
    rows, columns = grid
    height, width = pixels.shape[-2:]
    if pixels.ndim != 4 or rows > height or columns > width:
        raise UsageError(f"a grid of {rows} x {columns} places cannot lie over pixels of shape {tuple(pixels.shape)}")
    down = torch.arange(height, device=pixels.device) * rows // height
    across = torch.arange(width, device=pixels.device) * columns // width
    return down[:, None] * columns + across


def _masked(forward: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Embed an image (c, h, w) under masks (k, h, w): (k, d)."""
    return torch.cat([forward(image * part[:, None]) for part in torch.split(kept, _FORWARD)])


_Fit = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Base (n, d), parts (n, m, d), predictions (n, k, d) and standard errors (n, m)."""


def _expected(kept: torch.Tensor, weights: torch.Tensor, seen: torch.Tensor, q: float) -> _Fit:
    """Take the expectations over all masks: slopes of independent places are their covariances over their variances."""
    slopes = (kept - q).T * weights / (q * (1 - q))
    parts = torch.einsum("mk,nkd->nmd", slopes, seen)
    base = torch.einsum("k,nkd->nd", weights, seen) - q * parts.sum(1)
    predicted = base[:, None] + torch.einsum("km,nmd->nkd", kept, parts)
    return base, parts, predicted, seen.new_zeros(parts.shape[:2])


def _fitted(kept: torch.Tensor, seen: torch.Tensor, q: float) -> _Fit:
    """Fit by ridge regression about the masks' own means; predictions are those of the other masks (leave one out)."""
    number = len(kept)
    level, means = kept.mean(0), seen.mean(1, keepdim=True)
    left, lengths, right = torch.linalg.svd(kept - level, full_matrices=False)
    turned = torch.einsum("kr,nkd->nrd", left, seen - means)
    ridges = seen.new_tensor([strength * number * q * (1 - q) for strength in _STRENGTHS])
    shrunk = lengths**2 / (lengths**2 + ridges[:, None])  # (strengths, r)

    def off(shrunk: torch.Tensor) -> torch.Tensor:
        """Return how far each mask's vector is from what a fit without it predicts, by each image's ridge, (n, r)."""
        leverage = 1 / number + shrunk @ (left**2).mT
        fitted = torch.einsum("kr,nr,nrd->nkd", left, shrunk, turned)
        distance: torch.Tensor = (seen - means - fitted) / (1 - leverage).unsqueeze(2)
        return distance

    best = torch.stack([off(each.expand(len(seen), -1)).pow(2).sum((1, 2)) for each in shrunk]).argmin(0)
    missed = off(shrunk[best])
    inverse = lengths / (lengths**2 + ridges[best, None])  # (n, r)
    parts = torch.einsum("rm,nr,nrd->nmd", right, inverse, turned)
    noise = missed.pow(2).sum(2).mean(1, keepdim=True)
    errors = (noise * torch.einsum("rm,nr->nm", right**2, inverse**2)).sqrt()
    return means[:, 0] - torch.einsum("m,nmd->nd", level, parts), parts, seen - missed, errors


def _rank_correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return Spearman's correlation of the rows of two arrays (n, k), (n,)."""
    ranks = [each.argsort(1).argsort(1).to(one) - (each.shape[1] - 1) / 2 for each in (one, other)]
    found: torch.Tensor = (ranks[0] * ranks[1]).sum(1) / (ranks[0].norm(dim=1) * ranks[1].norm(dim=1))
    return found
