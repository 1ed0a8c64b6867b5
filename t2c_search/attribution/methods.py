"""Factors of an image's places, by the cheapest way that its encoder allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from t2c_search.alignment.aligner import Aligner
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.encoders.capabilities import Differentiable, SumOfPlaces
from t2c_search.encoders.pool import exclusive
from t2c_search.encoders.protocols import ImageEncoder
from t2c_search.errors import UsageError


@dataclass(frozen=True, slots=True)
class Method:
    """A way to factors: ``factors(encoder, aligner, pixels)`` of a module of this room, and what it asks of an encoder."""

    module: str
    needs: Callable[[Any], bool]


METHODS = {
    "exact": Method("exact", lambda encoder: isinstance(encoder, SumOfPlaces)),
    "banzhaf": Method("banzhaf", lambda encoder: isinstance(encoder, Differentiable)),
}
"""By name, the cheapest first."""


def place_factors(
    encoder: ImageEncoder, aligner: Aligner | None, pixels: torch.Tensor, method: str = "auto"
) -> PlaceFactors:
    """Return the factors of n images' places in CLIP space.

    ``pixels`` (n, 3, h, w) are what ``encoder.normalise`` gives; ``aligner`` is None for a CLIP model's own tower. ``auto``
    is the first of ``METHODS`` that the encoder allows. Raises UsageError for a method that is unknown or not for this encoder.
    """
    name = choose(encoder, method)
    module = import_module(f"t2c_search.attribution.{METHODS[name].module}")
    with exclusive(encoder):
        return module.factors(encoder, aligner, pixels)  # type: ignore[no-any-return]


def choose(encoder: ImageEncoder, method: str = "auto") -> str:
    """Return the name of the method that ``place_factors`` takes. Raises UsageError as it does."""
    allowed = [name for name, each in METHODS.items() if each.needs(encoder)]
    if not allowed:
        raise UsageError(
            f"{encoder.id!r} gives vectors without showing a model that sees pixels (normalise and embed, see "
            "t2c_search.encoders.capabilities), so that its vectors cannot be taken apart: use an encoder that runs a model"
        )
    if method == "auto":
        return allowed[0]
    if method not in METHODS:
        raise UsageError(f"no method {method!r}; known methods: auto, {', '.join(METHODS)}")
    if method not in allowed:
        raise UsageError(f"method {method!r} is not for {encoder.id!r}, which allows: {', '.join(allowed)}")
    return method
