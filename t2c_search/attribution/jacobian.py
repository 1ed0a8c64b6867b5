"""Factors at any layer by vector-Jacobian products: what the other methods are compared with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from t2c_search.alignment.aligner import Aligner
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.integrals import NODES, gauss_legendre, plain_attention
from t2c_search.attribution.projection import HeldProjection, Unprojected, hold
from t2c_search.encoders.capabilities import (
    AttentionBlocks,
    AttentionPooled,
    Differentiable,
    FeatureMap,
    FeatureMaps,
    SumOfPlaces,
)
from t2c_search.encoders.pool import exclusive
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_ONCE = 2**24  # numbers in the gradients of one backward pass


@dataclass(frozen=True, slots=True)
class Cut:
    """An encoder cut in two at a layer, for n images and, as the last one, their reference of zeros."""

    values: Tensor
    """(n + 1, positions, d): what comes into the layer; the last positions are those of the grid."""
    grid: tuple[int, int]
    read: Callable[[Tensor], Tensor]
    """(m, positions, d) -> rows (m, image_dim): the rest of the encoder."""


def factors(
    encoder: Differentiable,
    aligner: Aligner | Unprojected | None,
    pixels: Tensor,
    nodes: int = NODES,
    layer: nn.Module | None = None,
) -> PlaceFactors:
    """Return the factors of n images at the input of a layer; ``aligner`` is None for a CLIP model's own tower.

    Without a ``layer``, a module of the encoder's, it is the last block of a transformer with a class token, and otherwise
    what comes last before the encoder pools. The reference is the image of zeros; the base holds what it and what tokens
    without a place give. Raises UsageError for an encoder that has neither, and for a layer that knows no places.
    """
    cut = cut_at(encoder, pixels, layer)
    with torch.no_grad():
        rows = cut.read(cut.values)
    held = hold(rows[:-1], aligner)
    vectors = held.base + held.map(rows[:-1])
    every = torch.eye(vectors.shape[1]).to(vectors)
    parts = along(cut, held, every, nodes)
    places = cut.grid[0] * cut.grid[1]
    base = held.base + held.map(rows[-1:].expand_as(rows[:-1])) + parts[:, :-places].sum(1)
    return PlaceFactors(vectors, base, parts[:, -places:], "jacobian", cut.grid)


def along(cut: Cut, held: HeldProjection, directions: Tensor, nodes: int = NODES) -> Tensor:
    """Return what each position gives to each of m directions (m, d) of CLIP space, (n, positions, m).

    Directions may be a text's vector or its tokens' parts: one backward pass each, where factors take d.
    """
    start, end = cut.values[-1:], cut.values[:-1]
    delta = end - start
    cotangents = held.pull(directions.expand(len(end), -1, -1)).transpose(0, 1)
    step = max(1, _AT_ONCE // delta.numel())
    given = []
    for some in cotangents.split(step):  # type: ignore[no-untyped-call]
        summed = torch.zeros(len(some), *delta.shape[:2]).to(delta)
        for point, weight in gauss_legendre(nodes):
            summed += weight * _product(cut.read, start + point * delta, some, delta)
        given.append(summed)
    return torch.cat(given).permute(1, 2, 0)


def cut_at(encoder: Differentiable, pixels: Tensor, layer: nn.Module | None = None) -> Cut:
    """Cut an encoder at a layer, or where ``factors`` does without one."""
    pixels = torch.cat([pixels, torch.zeros_like(pixels[:1])])
    if layer is None and isinstance(encoder, AttentionBlocks) and _has_class_token(encoder):
        layer = encoder.blocks[-1]
    if layer is not None:
        return _before(encoder, layer, pixels)
    if not isinstance(encoder, FeatureMaps):
        raise UsageError(f"{encoder.id!r} does not show where it pools: name a layer, or use the method banzhaf")  # type: ignore[attr-defined]
    with torch.no_grad():
        features = encoder.feature_map(pixels)
    return Cut(features.values, features.grid, lambda values: encoder.head(FeatureMap(values, features.grid)))


def _has_class_token(encoder: AttentionBlocks) -> bool:
    if isinstance(encoder, AttentionPooled):
        return encoder.poolings[0].first == "class"
    return not isinstance(encoder, SumOfPlaces)


def _product(read: Callable[[Tensor], Tensor], at: Tensor, cotangents: Tensor, delta: Tensor) -> Tensor:
    """Return each of m cotangents (m, n, image_dim) times the Jacobian times each position's delta, (m, n, positions)."""
    with torch.enable_grad(), plain_attention():
        at = at.detach().requires_grad_()
        (gradients,) = torch.autograd.grad(read(at), at, cotangents, is_grads_batched=True)
    return (gradients * delta).sum(3)


def _before(encoder: Differentiable, layer: nn.Module, pixels: Tensor) -> Cut:
    with torch.no_grad(), exclusive(encoder), _catching(layer) as caught:
        encoder.embed(pixels)
    if not caught or caught[0].ndim not in (3, 4):
        raise UsageError(f"the layer {type(layer).__name__} does not take tokens (n, tokens, d) or a map (n, d, h, w)")
    (values,) = caught
    if values.ndim == 4:
        grid = (values.shape[2], values.shape[3])
    elif isinstance(encoder, FeatureMaps):
        with torch.no_grad():
            grid = encoder.feature_map(pixels[-1:]).grid
    else:
        raise UsageError("the grid of a transformer's tokens is known of encoders with a feature map only")

    def read(positions: Tensor) -> Tensor:
        given = positions if values.ndim == 3 else positions.transpose(1, 2).unflatten(2, grid)  # type: ignore[no-untyped-call]
        blank = pixels[-1:].expand(len(given), -1, -1, -1)
        with exclusive(encoder), _replacing(layer, given):
            return encoder.embed(blank)

    return Cut(values if values.ndim == 3 else values.flatten(2).transpose(1, 2), grid, read)


@contextmanager
def _catching(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what comes into a layer meanwhile."""
    caught: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    try:
        yield caught
    finally:
        hook.remove()


@contextmanager
def _replacing(layer: nn.Module, value: Tensor) -> Iterator[None]:
    """Have other values come into a layer meanwhile."""
    hook = layer.register_forward_pre_hook(lambda _, inputs: (value, *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()
