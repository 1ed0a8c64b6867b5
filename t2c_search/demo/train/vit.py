"""Train the mini ViT on pixels alone: it learns to see what the mini CNN sees, patch by patch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from t2c_search.concepts.describe.loop import Course, Log, device, save, train
from t2c_search.demo.backgrounds import SIDE
from t2c_search.demo.train.configuration import write_timm
from t2c_search.demo.train.pixels import pixels
from t2c_search.demo.world import draw

ARGUMENTS: dict[str, Any] = {
    "img_size": SIDE, "patch_size": 16, "embed_dim": 192, "depth": 4, "num_heads": 6, "class_token": False,
    "global_pool": "avg",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class VitRecipe:
    """The constants of the mini ViT and of its training."""

    architecture: str = "vit_tiny_patch16_224"
    arguments: dict[str, Any] = field(default_factory=ARGUMENTS.copy)
    scenes: int = 60_000
    sampled: int = 1000  # scenes from which the spread of the CNN's features is taken
    steps: int = 1800
    batch: int = 96
    rate: float = 1.5e-3
    weight_decay: float = 0.05


def drawn(seed: int, n: int) -> dict[str, bytes]:
    """The first ``n`` of each thing that the model is trained on; other lessons, other bytes."""
    return {"scenes": b"".join(scene.image.tobytes() for scene in draw(seed, n))}


def train_vit(folder: Path, recipe: VitRecipe, *, seed: int, log: Log) -> None:
    """Train the mini ViT and write it to ``folder`` as a timm local-dir; the mini CNN must be in ``cnn`` beside it.

    Distillation of features (Romero et al., FitNets, 2015): from each of its 6 x 6 tokens the ViT is to tell the CNN's
    features at that place, and from their mean the CNN's mean. The CNN never saw a caption, so neither has the ViT.
    """
    import timm

    cnn: Any = timm.create_model(f"local-dir:{folder.parent / 'cnn'}", pretrained=True).eval()
    cnn = cnn.to(device(), memory_format=torch.channels_last)
    torch.manual_seed(seed)
    model: Any = timm.create_model(recipe.architecture, num_classes=0, **recipe.arguments)
    both = nn.ModuleList([model, nn.Linear(model.num_features, cnn.num_features)]).to(device())
    images = np.stack([scene.image for scene in draw(seed, recipe.scenes)])
    rng = np.random.default_rng(seed)
    spread = _features(cnn, images[: recipe.sampled]).std((0, 2, 3)).clamp(min=1e-3)[:, None, None]

    def loss(step: int) -> torch.Tensor:
        batch = images[rng.choice(recipe.scenes, recipe.batch, replace=False)]
        wanted = (_features(cnn, batch) / spread).flatten(2).transpose(1, 2)
        with torch.autocast(device().type, torch.bfloat16):
            told = both[1](model.forward_features(pixels(batch))).float()
        return F.mse_loss(told, wanted) + wanted.shape[1] * F.mse_loss(told.mean(1), wanted.mean(1))

    train(both, loss, Course(recipe.steps, recipe.rate, recipe.weight_decay), log)
    save(model, folder / "model.safetensors")
    write_timm(folder, recipe.architecture, recipe.arguments, model.num_features, first_conv="patch_embed.proj")


@torch.inference_mode()
def _features(cnn: Any, images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return the CNN's feature maps of n scenes, (n, d, 6, 6) float32."""
    features: torch.Tensor = cnn.forward_features(pixels(images))
    return features
