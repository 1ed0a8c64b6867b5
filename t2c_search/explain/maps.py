"""Maps: what each place of an image gives to a text's score."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate, normalize

from t2c_search.attribution.factors import PlaceFactors


def maps(factors: PlaceFactors, rows: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Return the maps of k directions, such as unit text vectors, over n images: (n, k, places).

    The directions are the same for every image, (k, d), or each image's own, (n, k, d).
    A map sums to the score about the ``centre`` (d,), ``rows @ (vector - centre)``: that of the collection's mean, by which
    images are ranked. So a place counts for a text where it is above what an image's place has on average, and against it
    below. What no place gives (base and residual) and the centre are spread evenly over the places.
    """
    spread = (factors.vectors - factors.parts.sum(1) - centre) / factors.parts.shape[1]
    return rows @ (factors.parts + spread.unsqueeze(1)).mT


def regions(factors: PlaceFactors, rows: torch.Tensor) -> torch.Tensor:
    """Return the cosines of k unit directions (k, d) with what n images would be, were all their places like one: (n, k, places).

    The best over the places is what ``anywhere(...)`` searches for (``attribution.stored``).
    """
    rest = (factors.vectors - factors.parts.sum(1)) / factors.parts.shape[1]
    return rows @ normalize(factors.parts + rest.unsqueeze(1), dim=2).mT


def contested(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (n, k, places) as claims: where each of k texts has its object, as far as no other text has it there.

    A text claims a place that is above the mean of its own map, and where that mean is negative, as the picture speaks against
    the text, above 0. From what a place gives to a text the best claim of the others is then taken. So the objects that several
    texts name are told apart, and a text that names nothing in the picture claims little. Claims do not sum to a score.
    """
    claims = maps - maps.mean(2, keepdim=True).clamp(min=0)
    if claims.shape[1] == 1:
        return claims
    best, second = claims.topk(2, dim=1).values.clamp(min=0).unbind(1)
    leads = torch.zeros_like(claims, dtype=torch.bool).scatter(1, claims.argmax(1, keepdim=True), True)
    return claims - torch.where(leads, second.unsqueeze(1), best.unsqueeze(1))


def enlarge(maps: torch.Tensor, grid: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Enlarge maps (n, k, places) over a ``grid`` (rows, columns) to ``size`` (height, width): (n, k, height, width).

    Bilinear between the centres of the places, as the values at their borders are not known.
    """
    return interpolate(maps.unflatten(2, grid), size, mode="bilinear")  # type: ignore[no-untyped-call]
