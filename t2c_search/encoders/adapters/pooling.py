"""Pooling that is a sum over places, and what a model does behind it, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from t2c_search.encoders.capabilities import FeatureMap

PoolingKind = Literal["avg", "max", "avgmax", "catavgmax"]
Behind = nn.Module | Callable[[Tensor], Tensor]
"""What a pooled vector goes through: a module that ``carries`` takes, or a function, which is linear."""
_NOTHING = (nn.Identity, nn.Dropout, nn.Flatten, nn.Sequential)  # a Sequential that is a leaf is empty
_ACTIVATIONS = (nn.GELU, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Tanh)


class Sums(NamedTuple):
    """n vectors, each ``base + parts.sum(1)``: base (n, d), parts (n, places, d)."""

    base: Tensor
    parts: Tensor

    @property
    def total(self) -> Tensor:
        """The vectors, (n, d)."""
        return self.base + self.parts.sum(1)


@dataclass(frozen=True, slots=True)
class Pooling:
    """The pooling of a feature map over its places, and what its result goes through in turn.

    Under a maximum each channel belongs to the place where it is largest, the first of several.
    """

    kind: PoolingKind
    behind: tuple[Behind, ...] = ()
    all_tokens: bool = False
    """Whether class and register tokens are pooled with the places."""

    def sums(self, features: FeatureMap) -> Sums:
        """Return what the model makes of a feature map, as sums over its places."""
        places = features.grid[0] * features.grid[1]
        values = features.values if self.all_tokens else features.values[:, -places:]
        match self.kind:
            case "avg":
                pooled = values / values.shape[1]
            case "max":
                pooled = _at_maximum(values)
            case "avgmax":
                pooled = (values / values.shape[1] + _at_maximum(values)) / 2
            case "catavgmax":
                pooled = torch.cat([values / values.shape[1], _at_maximum(values)], dim=2)
        sums = Sums(pooled[:, :-places].sum(1), pooled[:, -places:])
        for step in self.behind:
            sums = _through(step, sums)
        return sums

    def agrees(self, head: Callable[[FeatureMap], Tensor], width: int, tokens: int = 0) -> bool:
        """Tell whether this is what a model's head does with noise: ``width`` channels, and so many tokens without a place."""
        noise = torch.randn(2, tokens + 6, width, generator=torch.Generator().manual_seed(0))
        features = FeatureMap(noise, (2, 3))
        with torch.no_grad():
            made = head(features)
            total = self.sums(features).total
        return made.shape == total.shape and torch.allclose(made, total, atol=1e-4)


def carries(module: nn.Module) -> bool:
    """Tell whether sums go through a module part by part: a linear or an elementwise one, or a LayerNorm."""
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, (*_NOTHING, *_ACTIVATIONS, nn.Linear, nn.LayerNorm))


def leaves(modules: Iterable[nn.Module]) -> tuple[nn.Module, ...]:
    """Return the modules within some that have no modules of their own, in order."""
    return tuple(leaf for module in modules for leaf in module.modules() if not any(True for _ in leaf.children()))


def _at_maximum(values: Tensor) -> Tensor:
    """Keep of (n, positions, d) each channel's largest value, where it is first."""
    where = values.argmax(1, keepdim=True)
    return torch.zeros_like(values).scatter(1, where, values.gather(1, where))


def _through(step: Behind, sums: Sums) -> Sums:
    match step:
        case nn.Linear() | nn.Conv2d():
            weight = step.weight.flatten(1)
            return Sums(linear(sums.base, weight, step.bias), linear(sums.parts, weight))
        case nn.LayerNorm():
            return _normalised(step, sums)
        case nn.Module() if isinstance(step, _ACTIVATIONS):
            return _activated(step, sums)
        case nn.Module():
            return sums
    return Sums(step(sums.base), step(sums.parts))


def _normalised(norm: nn.LayerNorm, sums: Sums) -> Sums:
    """Centre each part, and divide by the deviation of the whole."""
    scale = (sums.total.var(1, correction=0, keepdim=True) + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    base = (sums.base - sums.base.mean(1, keepdim=True)) * scale
    parts = (sums.parts - sums.parts.mean(2, keepdim=True)) * scale.unsqueeze(1)
    return Sums(base if norm.bias is None else base + norm.bias, parts)


def _activated(activation: nn.Module, sums: Sums) -> Sums:
    """Multiply parts by the mean slope of an elementwise function between the base and the whole.

    That is its Jacobian integrated along the line between them, which needs no nodes: (f(b) - f(a)) / (b - a).
    """
    start, end = sums.base, sums.total
    step = end - start
    # Where the difference of values would be mostly rounding, the slope at the middle is nearer.
    near = step.abs() < torch.finfo(step.dtype).eps ** (1 / 3)
    with torch.enable_grad():
        middle = ((start + end) / 2).detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(middle.clone()).sum(), middle)  # some work in place
    reached: Tensor = activation(start.clone())
    secant = (activation(end.clone()) - reached) / torch.where(near, torch.ones_like(step), step)
    return Sums(reached, sums.parts * torch.where(near, slope, secant).unsqueeze(1))
