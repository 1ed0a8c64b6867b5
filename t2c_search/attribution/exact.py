"""Factors of encoders that pool by mean or maximum: their rows are sums over places already, so nothing is integrated."""

from __future__ import annotations

import torch

from t2c_search.alignment.aligner import Aligner
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.projection import Unprojected, hold
from t2c_search.encoders.capabilities import SumOfPlaces


def factors(encoder: SumOfPlaces, aligner: Aligner | Unprojected | None, pixels: torch.Tensor) -> PlaceFactors:
    """Return the factors of n images; ``aligner`` is None for a CLIP model's own tower.

    v_p = W f_p / (P |x| |y|): there is no reference, the base is what biases give, and the residual is rounding.
    """
    shares = encoder.shares(pixels)
    held = hold(shares.rows, aligner)
    vectors = held.base + held.map(shares.rows)
    return PlaceFactors(vectors, held.base + held.map(shares.base), held.map(shares.parts), "exact", shares.grid)
