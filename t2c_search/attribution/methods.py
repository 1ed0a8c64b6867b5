"""Factors of an image's places, by the cheapest way that its encoder allows."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from t2c_search.alignment.aligner import Aligner
from t2c_search.attribution.factors import warn_of_residual
from t2c_search.attribution.projection import Unprojected
from t2c_search.encoders.capabilities import AttentionBlocks, AttentionPooled, Differentiable, FeatureMaps, SumOfPlaces
from t2c_search.encoders.pool import exclusive
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.attribution.factors import PlaceFactors
    from t2c_search.encoders.protocols import ImageEncoder


@dataclass(frozen=True, slots=True)
class Method:
    """A way to factors: the module of this room of its name has ``factors(encoder, aligner, pixels)``."""

    needs: tuple[type, ...]
    """What an encoder must be capable of: one of these."""
    completes: bool
    """Whether base and parts should add up to the vector, so that the residual is a measure of the error."""


METHODS = {
    "exact": Method((SumOfPlaces,), True),
    "analytic": Method((AttentionPooled,), True),
    "banzhaf": Method((Differentiable,), False),
    "jacobian": Method((AttentionBlocks, FeatureMaps), True),
}
"""By name, the cheapest first: a sum that is there already, closed forms, masked forward passes, backward passes."""


def place_factors(
    encoder: ImageEncoder, aligner: Aligner | Unprojected | None, pixels: torch.Tensor, method: str = "auto"
) -> PlaceFactors:
    """Return the factors of n images' places in CLIP space.

    ``pixels`` (n, 3, h, w) are what ``encoder.normalise`` gives; ``aligner`` is None for a CLIP model's own tower. ``auto``
    is the first of ``METHODS`` that the encoder allows. A large residual is warned about. Raises UsageError for a method that
    is unknown or not for this encoder.
    """
    name = choose(encoder, method)
    found = made_by(name, encoder, aligner, pixels)
    if METHODS[name].completes:
        warn_of_residual(found, "images")
    return found


def made_by(
    name: str, encoder: ImageEncoder, aligner: Aligner | Unprojected | None, pixels: torch.Tensor
) -> PlaceFactors:
    """Return what ``place_factors`` does, by a method that was chosen for the encoder, and warn of nothing."""
    with exclusive(encoder):
        found: PlaceFactors = _module(name).factors(encoder, aligner, pixels)
    return found


def choose(encoder: ImageEncoder, method: str = "auto") -> str:
    """Return the name of the method that ``place_factors`` takes. Raises UsageError as it does."""
    if method != "auto" and method not in METHODS:
        raise UsageError(f"no method {method!r}; known methods: auto, {', '.join(METHODS)}")
    allowed = [name for name, each in METHODS.items() if isinstance(encoder, each.needs)]
    if not allowed:
        raise UsageError(
            f"{encoder.id!r} gives vectors without showing a model that sees pixels (normalise and embed, see "
            "t2c_search.encoders.capabilities), so that its vectors cannot be taken apart: use an encoder that runs a model"
        )
    if method not in ("auto", *allowed):
        raise UsageError(f"method {method!r} is not for {encoder.id!r}, which allows: {', '.join(allowed)}")
    return allowed[0] if method == "auto" else method


def completes(method: str) -> bool:
    """Tell whether a method's base and parts should add up to the vector, so that the residual is a measure of its error."""
    return METHODS[method].completes


def _module(name: str) -> Any:
    return import_module(f"t2c_search.attribution.{name}")
