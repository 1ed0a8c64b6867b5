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
    """Return maps (n, k, places) less what each place gives to the best of the other k - 1 texts, where that is positive.

    They tell apart the objects that several texts name: a place counts for a text only by what it gives to it beyond any
    other, and against it where another has the better claim. They do not sum to a score; those of one text are as they were.
    """
    if maps.shape[1] == 1:
        return maps
    best, second = maps.topk(2, dim=1).values.clamp(min=0).unbind(1)
    leads = torch.zeros_like(maps, dtype=torch.bool).scatter(1, maps.argmax(1, keepdim=True), True)
    return maps - torch.where(leads, second.unsqueeze(1), best.unsqueeze(1))


def enlarge(maps: torch.Tensor, grid: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Enlarge maps (n, k, places) over a ``grid`` (rows, columns) to ``size`` (height, width): (n, k, height, width).

    Bilinear between the centres of the places, as the values at their borders are not known.
    """
    return interpolate(maps.unflatten(2, grid), size, mode="bilinear")  # type: ignore[no-untyped-call]
