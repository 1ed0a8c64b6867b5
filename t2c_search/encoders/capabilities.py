"""What some encoders can do beyond embedding, so that what they do can be explained: small protocols.

An encoder has a capability where it is an instance of its protocol. Others of its kind may lack it: a convolutional net has
no attention blocks. Pixels are what the module itself sees, (n, 3, h, w) float32, normalised, on the encoder's device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """What a model knows of each place before it pools.

    ``values`` are (n, positions, d) float32. The last rows * columns positions are those of the ``grid`` (rows, columns)
    that lies over the pixels, row by row; what comes before them, class and register tokens, has no place.
    """

    values: torch.Tensor
    grid: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Shares:
    """n rows of an encoder as sums over places: ``rows = base + parts.sum(1)``, but for rounding.

    Whatever norms the model divides by are held as they are. ``parts`` are those of the places of ``grid``, row by row.
    """

    rows: torch.Tensor
    """(n, image_dim): those of ``embed``."""
    base: torch.Tensor
    """(n, image_dim): biases, and what tokens without a place give."""
    parts: torch.Tensor
    """(n, places, image_dim)"""
    grid: tuple[int, int]


@runtime_checkable
class Differentiable(Protocol):
    """An encoder through which gradients flow: its weights are frozen, its pixels need not be."""

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Map n stacked ``prepare`` results to the pixels that the module sees."""
        ...

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels to rows (n, image_dim), in float32: those of ``encode_images``."""
        ...


@runtime_checkable
class FeatureMaps(Differentiable, Protocol):
    """An encoder whose ``embed`` is ``head`` of ``feature_map``; gradients flow through either."""

    def feature_map(self, pixels: torch.Tensor) -> FeatureMap:
        """Return the features before pooling."""
        ...

    def head(self, features: FeatureMap) -> torch.Tensor:
        """Pool features to rows (n, image_dim), with whatever the model does after pooling."""
        ...


@runtime_checkable
class SumOfPlaces(Differentiable, Protocol):
    """An encoder that pools its last features by mean or maximum, so that its rows are sums over their places."""

    def shares(self, pixels: torch.Tensor) -> Shares:
        """Return the rows of ``embed`` as sums, without gradients."""
        ...


@dataclass(frozen=True, slots=True)
class AttentionPooling:
    """How tokens (n, tokens, d) become rows (n, width): one of them, or a query that never changes, attends to all.

    In each head, ``attended`` is the sum of the values weighted by softmax(query . key), and the row is
    ``finish(attended, first)``, where ``first`` (n, d) is the first token. All are differentiable, each token by itself.
    """

    query: Callable[[torch.Tensor], torch.Tensor]
    """first (n, d) -> queries (n, heads, e), scaled."""
    norm: torch.nn.Module
    """What tokens go through first: a LayerNorm, or an Identity."""
    project: Callable[[torch.Tensor], torch.Tensor]
    """normed tokens (..., d) -> (..., p), affine."""
    keys_values: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """projected tokens (..., p) -> keys and values, (..., heads, e) each."""
    finish: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """attended (n, heads * e) and first (n, d) -> rows (n, width)."""
    first: Literal["class", "mean", "any"] = "any"
    """What the first token is: the class token, which asks; the mean of the others, which are all places, but for a
    constant, and asks (then norm is an Identity, and keys_values affine); or one like the others, so that the query never
    changes."""

    def rows(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the rows of n sets of tokens."""
        keys, values = self.keys_values(self.project(self.norm(tokens)))
        weights = (self.query(tokens[:, 0]).unsqueeze(1) * keys).sum(3, keepdim=True).softmax(1)
        return self.finish((weights * values).sum(1).flatten(1), tokens[:, 0])


@runtime_checkable
class AttentionPooled(Differentiable, Protocol):
    """An encoder that reads its row off its last tokens by attention: by its class token in the last block, or behind it."""

    poolings: tuple[AttentionPooling, ...]
    """One, which gives the rows of ``embed``; or several, whose rows are made unit rows and set side by side."""

    def pooled_tokens(self, pixels: torch.Tensor) -> tuple[FeatureMap, ...]:
        """Return what each of ``poolings`` takes, of one forward pass."""
        ...


@dataclass(frozen=True, slots=True)
class TextTokens:
    """n texts as a block of a text tower takes them, all as long as the longest."""

    values: torch.Tensor
    """(n, positions, d)"""
    references: torch.Tensor
    """The same of each text's reference: padding in place of its words, start and end as they are."""
    words: tuple[tuple[str, ...], ...]
    """Each text's tokens between start and end, as they are written."""
    start: int
    """The position of the first of them."""
    read: Callable[[torch.Tensor], torch.Tensor]
    """values (n, positions, d) -> rows (n, text_dim), not yet unit rows: the rest of the tower; gradients flow through."""


@runtime_checkable
class TokenizedTexts(Protocol):
    """An encoder of texts that shows their tokens."""

    def text_tokens(self, texts: Sequence[str], block: int = 0) -> TextTokens:
        """Return what comes into a block, counted from the first, or from the last as -1."""
        ...


@runtime_checkable
class AttentionBlocks(Differentiable, Protocol):
    """A transformer. Hooks on its blocks see what every thread sends through: hold ``pool.exclusive(encoder)`` meanwhile."""

    blocks: Sequence[torch.nn.Module]
    """First to last; each maps tokens (n, tokens, d), its first argument, to tokens of the same shape."""


_ALL = (Differentiable, FeatureMaps, SumOfPlaces, AttentionPooled, TokenizedTexts, AttentionBlocks)


def capabilities(encoder: object) -> frozenset[type]:
    """Return the protocols of this module that an encoder fulfils."""
    return frozenset(capability for capability in _ALL if isinstance(encoder, capability))
