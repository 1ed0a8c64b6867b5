"""Integrated Jacobians: what moved an encoder's row from a reference's to its own, part by part (Moeller et al. 2025, eq. 9)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
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
    line = _Line.between(pooling, start, end)
    return sum(weight * line.tangents(point) for point, weight in gauss_legendre(nodes))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Line:
    """The way from reference to input, and what a pooling's matrices make of it, once for all nodes.

    A normed token on the way is a sum of two that do not change, over a deviation whose square is quadratic: at the point t
    it is (a + t b) / sqrt(p + 2 q t + r t^2), plus a bias. So is its projection.
    """

    pooling: AttentionPooling
    start: Tensor
    """(n or 1, tokens, d)"""
    steps: Tensor
    """(n, tokens, d): the tokens' own ways."""
    projected: tuple[Tensor, Tensor, Tensor]
    """Projections of a and b, (n or 1, tokens, p) and (n, tokens, p), and of the bias, (p,)."""
    square: tuple[Tensor, Tensor, Tensor]
    """p, q and r: (..., tokens, 1) each."""

    @classmethod
    def between(cls, pooling: AttentionPooling, start: Tensor, end: Tensor) -> _Line:
        """Return the line between tokens (n, tokens, d)."""
        steps, norm, nothing = end - start, pooling.norm, torch.zeros_like(start[0, 0])
        one = torch.ones_like(start[..., :1])
        sides, square = (start, steps), (one, 0 * one, 0 * one)
        if isinstance(norm, nn.LayerNorm):
            a, b = (each - each.mean(2, keepdim=True) for each in sides)
            p, q, r = ((x * y).mean(2, keepdim=True) for x, y in ((a, a), (a, b), (b, b)))
            weight = 1 if norm.weight is None else norm.weight
            sides, square = (a * weight, b * weight), (p + norm.eps, q, r)
        a, b = (pooling.project(each) - pooling.project(nothing) for each in sides)
        return cls(pooling, start, steps, (a, b, pooling.project(norm(nothing))), square)

    def tangents(self, point: float) -> Tensor:
        """Return the derivative of the rows along each token's own way, (n, tokens, width)."""
        pooling, first = self.pooling, self.start[:, 0] + point * self.steps[:, 0]
        (keys, values), (keys_moved, values_moved) = self._attended_to(point)
        query = pooling.query(first)
        weights = (query.unsqueeze(1) * keys).sum(3, keepdim=True).softmax(1)
        attended = (weights * values).sum(1)
        away = weights * (values - attended.unsqueeze(1))  # where a larger logit would pull
        by_keys = (query.unsqueeze(1) * keys_moved).sum(3, keepdim=True)
        moved = weights * values_moved + by_keys * away
        firsts = torch.zeros_like(self.steps)
        if pooling.first == "class":
            firsts[:, 0] = self.steps[:, 0]
            moved[:, :1] += self._asked(first, self.steps[:, :1], keys, away)
        elif pooling.first == "mean":
            share = 1 / (moved.shape[1] - 1)
            asked = self._asked(first, self.steps[:, 1:] * share, keys, away)
            moved[:, 1:] += asked + share * (weights[:, :1] * values_moved[:, 1:] + by_keys[:, 1:] * away[:, :1])
            moved[:, 0] = 0

        def row(attended_step: Tensor, first_step: Tensor) -> Tensor:
            _, moved = jvp(pooling.finish, (attended.flatten(1), first), (attended_step, first_step))[:2]
            return moved  # type: ignore[no-any-return]

        return vmap(row, in_dims=1, out_dims=1)(moved.flatten(2), firsts)

    def _attended_to(self, point: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return keys and values (n, tokens, heads, e), and their derivatives along each token's own way."""
        a, b, bias = self.projected
        p, q, r = self.square
        over = (p + 2 * point * q + point**2 * r).rsqrt()
        normed = (a + point * b) * over
        moved = b * over - normed * ((q + point * r) * over**2)
        return jvp(self.pooling.keys_values, (normed + bias,), (moved,))[:2]

    def _asked(self, first: Tensor, steps: Tensor, keys: Tensor, away: Tensor) -> Tensor:
        """Return how far what is attended moves as the query follows each of m steps (n, m, d) of the first token."""
        at = first.unsqueeze(1).repeat(1, steps.shape[1], 1).flatten(0, 1)
        _, moved = jvp(self.pooling.query, (at,), (steps.flatten(0, 1),))[:2]
        logits = torch.einsum("nmhe,nthe->nmth", moved.unflatten(0, steps.shape[:2]), keys)
        return torch.einsum("nmth,nthe->nmhe", logits, away)
