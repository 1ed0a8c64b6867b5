"""Integrated Jacobians: what moved an encoder's row from a reference's to its own, part by part (Moeller et al. 2025, eq. 9)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.func import jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from t2c_search.encoders.capabilities import AttentionPooling

NODES = 4
"""Points of the line between reference and input where the Jacobian is taken, by default."""


@functools.cache
def gauss_legendre(nodes: int) -> tuple[tuple[float, float], ...]:
    """Return the points in (0, 1) at which to take an integrand, each with its weight."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return tuple(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


@contextmanager
def plain_attention() -> Iterator[None]:
    """Have torch compute attention step by step meanwhile: its fused forms have no forward or batched derivatives."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def attention_parts(pooling: AttentionPooling, start: Tensor, end: Tensor, nodes: int = NODES) -> Tensor:
    """Return what each token gave to the change of the rows that a pooling makes of ``start`` and of ``end``.

    Both are (n, tokens, d), ``start`` maybe of one image for all; the result is (n, tokens, width). Of a token only its key
    and value reach the query, and, of the first, the query itself, so that each token's tangent is in closed form up to
    ``finish``. Where the first token is the mean of the others its share is given to them, and its own is zero.
    """
    delta = end - start
    return sum(  # type: ignore[return-value]
        weight * _tangents(pooling, start + point * delta, delta) for point, weight in gauss_legendre(nodes)
    )


def _tangents(pooling: AttentionPooling, tokens: Tensor, delta: Tensor) -> Tensor:
    """Return the derivative of the rows along each token's own delta, (n, tokens, width)."""
    (keys, values), (keys_moved, values_moved) = jvp(pooling.keys_values, (tokens,), (delta,))
    query = pooling.query(tokens[:, 0])
    weights = (query.unsqueeze(1) * keys).sum(3, keepdim=True).softmax(1)
    attended = (weights * values).sum(1)
    away = weights * (values - attended.unsqueeze(1))  # where a larger logit would pull
    moved = weights * values_moved + (query.unsqueeze(1) * keys_moved).sum(3, keepdim=True) * away
    firsts = torch.zeros_like(delta)
    if pooling.first == "mean":
        steps = delta[:, 1:] / (delta.shape[1] - 1)
        moved[:, 1:] += _by_first(pooling, tokens[:, 0], steps, (query, keys, weights, away))
        moved[:, 0] = 0
    else:
        firsts[:, 0] = delta[:, 0]
        moved[:, :1] = _by_first(pooling, tokens[:, 0], delta[:, :1], (query, keys, weights, away))

    def row(attended_step: Tensor, first_step: Tensor) -> Tensor:
        return jvp(pooling.finish, (attended.flatten(1), tokens[:, 0]), (attended_step, first_step))[1]  # type: ignore[no-any-return]

    return vmap(row, in_dims=1, out_dims=1)(moved.flatten(2), firsts)  # type: ignore[no-any-return]


def _by_first(
    pooling: AttentionPooling, first: Tensor, steps: Tensor, attention: tuple[Tensor, Tensor, Tensor, Tensor]
) -> Tensor:
    """Return how far each of m steps (n, m, d) of the first token moves what is attended: by its key, value and query."""
    query, keys, weights, away = attention
    at = first.unsqueeze(1).expand_as(steps).clone()
    _, (key_moved, value_moved) = jvp(pooling.keys_values, (at,), (steps,))
    _, queries_moved = jvp(pooling.query, (at.flatten(0, 1),), (steps.flatten(0, 1),))
    logits_moved = torch.einsum("nmhe,nthe->nmth", queries_moved.unflatten(0, steps.shape[:2]), keys)
    by_key = (query.unsqueeze(1) * key_moved).sum(3, keepdim=True) * away[:, :1]
    return weights[:, :1] * value_moved + by_key + torch.einsum("nmth,nthe->nmhe", logits_moved, away)
