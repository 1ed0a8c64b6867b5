"""``?layers=N``: what a model's last stages know, beside what it says in the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import normalize

from t2c_search.errors import EncoderError

Outputs = Callable[[torch.Tensor, int], tuple[torch.Tensor, list[torch.Tensor]]]
"""Pixels (n, 3, h, w) and N -> the embedding (n, d) and the pooled outputs of the last N stages, (n, d_i) each."""


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

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return unit rows side by side, (n, d + d_1 + ... + d_N) float32, the embedding's first, the last stage's last.

        Raises EncoderError where the model has fewer stages.
        """
        try:
            embedding, stages = self._outputs(pixels, self._count)
        except AssertionError as exc:  # how timm and open_clip say that there are fewer
            raise EncoderError(f"layers={self._count} asks for more stages than the model has: {exc}") from exc
        return torch.cat([normalize(rows.float()) for rows in (embedding, *stages)], dim=1)


def outputs_of_timm(encoder_id: str, module: Any) -> Outputs:
    """Return the outputs of a model of timm's, or of one that has its ``forward_intermediates`` and ``forward_head``.

    Raises EncoderError for any other module.
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

    def outputs(pixels: torch.Tensor, count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        last, stages = module.forward_intermediates(pixels, indices=count, **asked)
        pooled = [stage[1][:, 0] if by_class_token else stage.mean((2, 3)) for stage in stages]
        return module.forward_head(last), pooled

    return outputs


def outputs_of_open_clip(visual: Any) -> Outputs:
    """Return the outputs of the image tower of a model of open_clip's own architectures."""
    by_class_token = getattr(visual, "pool_type", None) == "tok"

    def outputs(pixels: torch.Tensor, count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        found = visual.forward_intermediates(
            pixels, indices=count, normalize_intermediates=True, output_extra_tokens=by_class_token
        )
        if by_class_token:
            return found["image_features"], [tokens[:, 0] for tokens in found["image_intermediates_prefix"]]
        return found["image_features"], [places.mean((2, 3)) for places in found["image_intermediates"]]

    return outputs
