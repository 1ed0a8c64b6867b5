"""Factors of encoders that pool by attention: integrated Jacobians, their tangents in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from t2c_search.alignment.aligner import Aligner
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.integrals import NODES, attention_parts
from t2c_search.attribution.projection import Unprojected, hold
from t2c_search.encoders.capabilities import AttentionPooled, AttentionPooling

_AT_ONCE = 2**23  # numbers in the widest tangents, which are four times as wide as a token


def factors(
    encoder: AttentionPooled, aligner: Aligner | Unprojected | None, pixels: Tensor, nodes: int = NODES
) -> PlaceFactors:
    """Return the factors of n images; ``aligner`` is None for a CLIP model's own tower.

    The reference is the image of zeros. The base holds what it gives, and what came by tokens without a place: the class
    token, which carries what former blocks have gathered, and registers.
    """
    with torch.no_grad():
        # The reference goes with the images: it costs one more of them, and is never of former weights.
        found = encoder.pooled_tokens(torch.cat([pixels, torch.zeros_like(pixels[:1])]))
        pieces = [_apart(pooling, each.values, nodes) for pooling, each in zip(encoder.poolings, found, strict=True)]
        if len(pieces) > 1:
            pieces = [_unit(*piece) for piece in pieces]
        rows, base, parts = (torch.cat(kind, -1) for kind in zip(*pieces, strict=True))
        held = hold(rows, aligner)
        rows_grid = found[0].grid
        places = rows_grid[0] * rows_grid[1]
        base = base + parts[:, :-places].sum(1)
        vectors = held.base + held.map(rows)
        return PlaceFactors(vectors, held.base + held.map(base), held.map(parts[:, -places:]), "analytic", rows_grid)


def _apart(pooling: AttentionPooling, tokens: Tensor, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows (n, width) that a pooling makes of n images' tokens, the reference's, and what each token gives."""
    rows, reference = pooling.rows(tokens).tensor_split([len(tokens) - 1])
    images, start = tokens.tensor_split([len(tokens) - 1])
    step = max(1, _AT_ONCE // (4 * start.numel()))
    batches = images.split(step)  # type: ignore[no-untyped-call]
    parts = torch.cat([attention_parts(pooling, start, some, nodes) for some in batches])
    return rows, reference.expand_as(rows), parts


def _unit(rows: Tensor, base: Tensor, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    held = hold(rows, None)
    return held.map(rows), held.map(base), held.map(parts)
