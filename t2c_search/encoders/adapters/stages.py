"""``?layers=N``: what a model's last stages know, beside what it says in the end."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from t2c_search.encoders.adapters.anatomy import Anatomy, Pooled
from t2c_search.encoders.adapters.pooling import Sums
from t2c_search.encoders.capabilities import Shares
from t2c_search.errors import EncoderError


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a module gives on the way, and what it makes of its last features."""

    intermediates: Callable[[torch.Tensor, int], tuple[torch.Tensor, list[torch.Tensor]]]
    """Pixels (n, 3, h, w) and N -> the last features, and the last N stages: maps (n, d, h, w), or class tokens (n, d)."""
    embedding: Callable[[torch.Tensor], torch.Tensor]
    """The last features -> (n, d)."""
    anatomy: Anatomy | None = None
    """Of the module whose last features these are, where it is known."""
    pooled: Callable[[int], Pooled | None] = lambda count: None
    """N -> how the embedding and the last N stages are read by attention, where they are class tokens."""


class Stages(torch.nn.Module):
    """Maps pixels (n, 3, h, w) to a module's embedding and the pooled outputs of its last stages, side by side.

    Each is made a unit vector first, so that none drowns the others. A stage is what the model's library counts as one: a
    level of resolution, or a transformer's block, seen through its last norm. A map is pooled by its mean; tokens as the
    model pools them itself, by the class token or by the mean.
    """

    def __init__(self, module: torch.nn.Module, layers: int, outputs: Outputs) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("layers", torch.tensor(layers))  # so that fingerprints tell two numbers of stages apart
        self._count = layers
        self._outputs = outputs
        self.pooled = outputs.pooled(layers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return unit rows side by side, (n, d + d_1 + ... + d_N) float32, the embedding's first, the last stage's last.

        Raises EncoderError where the model has fewer stages.
        """
        try:
            found = self._outputs.intermediates(pixels, self._count)
        except AssertionError as exc:  # how timm and open_clip say that there are fewer
            raise EncoderError(f"layers={self._count} asks for more stages than the model has: {exc}") from exc
        return self._side_by_side(*found)

    @property
    def are_sums(self) -> bool:
        """Whether the rows are sums over places, so that there are ``shares``."""
        return self._outputs.anatomy is not None and self._outputs.anatomy.pooling is not None

    def shares(self, pixels: torch.Tensor) -> Shares:
        """Return rows as sums over the places of the coarsest stage, the norms that each stage is divided by held."""
        anatomy = self._outputs.anatomy
        assert anatomy is not None
        assert anatomy.pooling is not None
        with torch.no_grad():
            last, stages = self._outputs.intermediates(pixels, self._count)
            features = anatomy.as_map(last)
            found = [(anatomy.pooling.sums(features), features.grid), *(_mean_of(stage) for stage in stages)]
            grid = min((grid for _, grid in found), key=math.prod)
            norms = [sums.total.norm(dim=1, keepdim=True) for sums, _ in found]
            base = [sums.base / norm for (sums, _), norm in zip(found, norms, strict=True)]
            parts = [
                _gathered(sums.parts / norm.unsqueeze(1), of, grid)
                for (sums, of), norm in zip(found, norms, strict=True)
            ]
            return Shares(self._side_by_side(last, stages), torch.cat(base, 1), torch.cat(parts, 2), grid)

    def _side_by_side(self, last: torch.Tensor, stages: list[torch.Tensor]) -> torch.Tensor:
        pooled = [stage.mean((2, 3)) if stage.ndim == 4 else stage for stage in stages]
        return torch.cat([normalize(rows.float()) for rows in (self._outputs.embedding(last), *pooled)], dim=1)


def outputs_of_timm(encoder_id: str, module: Any, anatomy: Anatomy | None = None) -> Outputs:
    """Return the outputs of a model of timm's, or of one that has its ``forward_intermediates`` and ``forward_head``.

    ``anatomy`` is the model's, where it is known. Raises EncoderError for any other module.
    """
    if not hasattr(module, "forward_intermediates") or not hasattr(module, "forward_head"):
        raise EncoderError(
            f"{encoder_id!r}: layers needs a module with the methods forward_intermediates and forward_head of timm's "
            f"models, and {type(module).__name__} lacks them: leave layers out"
        )
    asked = (
        {"norm": True} if "return_prefix_tokens" in inspect.signature(module.forward_intermediates).parameters else {}
    )
    by_class_token = bool(asked) and getattr(module, "global_pool", None) == "token"
    if by_class_token:
        asked["return_prefix_tokens"] = True

    def intermediates(pixels: torch.Tensor, count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        last, stages = module.forward_intermediates(pixels, indices=count, **asked)
        return last, [stage[1][:, 0] for stage in stages] if by_class_token else stages

    return Outputs(intermediates, module.forward_head, anatomy)


def outputs_of_open_clip(visual: Any) -> Outputs:
    """Return the outputs of the image tower of a model of open_clip's own architectures."""
    by_class_token = getattr(visual, "pool_type", None) == "tok"

    def intermediates(pixels: torch.Tensor, count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        found = visual.forward_intermediates(
            pixels, indices=count, normalize_intermediates=True, output_extra_tokens=by_class_token
        )
        if by_class_token:
            return found["image_features"], [tokens[:, 0] for tokens in found["image_intermediates_prefix"]]
        return found["image_features"], found["image_intermediates"]

    return Outputs(intermediates, torch.nn.Identity())


def _mean_of(stage: torch.Tensor) -> tuple[Sums, tuple[int, int]]:
    """Return the mean of a map (n, d, h, w) as a sum over its places, and their grid."""
    parts = stage.flatten(2).transpose(1, 2) / stage[0, 0].numel()
    return Sums(torch.zeros_like(parts[:, 0]), parts), (stage.shape[2], stage.shape[3])


def _gathered(parts: torch.Tensor, grid: tuple[int, int], coarser: tuple[int, int]) -> torch.Tensor:
    """Sum parts (n, places, d) of a grid into the cells of a coarser one, each by the area that it has in common with it."""
    if grid == coarser:
        return parts
    down, across = (_common(coarse, fine).to(parts) for coarse, fine in zip(coarser, grid, strict=True))
    return torch.einsum("ir,jc,nrcd->nijd", down, across, parts.unflatten(1, grid)).flatten(1, 2)  # type: ignore[no-untyped-call]


def _common(coarse: int, fine: int) -> torch.Tensor:
    """Return which part of each of ``fine`` equal steps lies in each of ``coarse``, (coarse, fine): its columns sum to 1."""
    edges = torch.arange(coarse + 1, dtype=torch.float64) * fine / coarse
    steps = torch.arange(fine, dtype=torch.float64)
    return (edges[1:, None].minimum(steps + 1) - edges[:-1, None].maximum(steps)).clamp(min=0)
