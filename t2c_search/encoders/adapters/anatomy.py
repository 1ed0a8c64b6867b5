"""Where a module can be cut open: before it pools, and between its blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from t2c_search.encoders.adapters.pooling import Pooling
from t2c_search.encoders.capabilities import AttentionPooling, FeatureMap, Shares

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Poolings by attention, and the tokens that they take of pixels, in one forward pass: see ``AttentionPooled``."""

    poolings: tuple[AttentionPooling, ...]
    tokens: Callable[[torch.Tensor], tuple[FeatureMap, ...]]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A module in two parts, the second of which pools what the first gives, and the blocks of a transformer.

    A ``grid`` (rows, columns) means that ``features`` are tokens (n, tokens, d), the grid's last; without one they are a
    map, of channels first (NCHW) or last (NHWC).
    """

    features: Forward
    pool: Forward
    grid: tuple[int, int] | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    blocks: tuple[torch.nn.Module, ...] = ()
    pooling: Pooling | None = None
    """What ``pool`` does, where it is a sum over places."""
    pooled: Pooled | None = None
    """How the row is read off the last tokens, where that is attention."""

    def feature_map(self, pixels: torch.Tensor) -> FeatureMap:
        """Return the features before pooling."""
        return self.as_map(self.features(pixels))

    def as_map(self, features: torch.Tensor) -> FeatureMap:
        """Return what ``features`` gave as positions."""
        if self.grid is not None:
            return FeatureMap(features, self.grid)
        if self.layout == "NCHW":
            features = features.permute(0, 2, 3, 1)
        rows, columns = features.shape[1:3]
        return FeatureMap(features.flatten(1, 2), (rows, columns))

    def head(self, features: FeatureMap) -> torch.Tensor:
        """Pool features to embeddings (n, d)."""
        if self.grid is not None:
            return self.pool(features.values)
        values = features.values.unflatten(1, features.grid)  # type: ignore[no-untyped-call]
        return self.pool(values.permute(0, 3, 1, 2) if self.layout == "NCHW" else values)

    @property
    def are_sums(self) -> bool:
        """Whether embeddings are sums over places, so that there are ``shares``."""
        return self.pooling is not None

    def shares(self, pixels: torch.Tensor) -> Shares:
        """Return embeddings as sums over places, without gradients."""
        assert self.pooling is not None
        with torch.no_grad():
            features = self.feature_map(pixels)
            base, parts = self.pooling.sums(features)
            return Shares(self.head(features), base, parts, features.grid)


def in_turn(*parts: Forward) -> Forward:
    """Return the composition of functions, the first of which is called first."""

    def run(value: torch.Tensor) -> torch.Tensor:
        for part in parts:
            value = part(value)
        return value

    return run


def inputs(blocks: Sequence[torch.nn.Module], tokens: torch.Tensor, count: int) -> list[torch.Tensor]:
    """Send tokens through blocks up to the last one; return what comes into each of the last ``count``."""
    found = [tokens]
    for block in blocks[:-1]:
        found = [*found, block(found[-1])][-count:]
    return found
