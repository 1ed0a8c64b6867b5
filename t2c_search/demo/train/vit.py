"""Train the mini ViT on pixels alone: it learns to see what the mini CNN sees, patch by patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from t2c_search.demo.backgrounds import SIDE
from t2c_search.demo.train.configuration import write_timm
from t2c_search.demo.train.loop import Log, device, pixels, save, train
from t2c_search.demo.world import draw

ARCHITECTURE = "vit_tiny_patch16_224"
ARGUMENTS: dict[str, Any] = {
    "img_size": SIDE, "patch_size": 16, "embed_dim": 192, "depth": 4, "num_heads": 6, "class_token": False,
    "global_pool": "avg",
}  # fmt: skip
STEPS = 1800
BATCH = 96
RATE = 1.5e-3
SCENES = 60_000
SAMPLED = 1000  # scenes from which the spread of the CNN's features is taken


def train_vit(folder: Path, *, seed: int, log: Log) -> None:
    """Train the mini ViT and write it to ``folder`` as a timm local-dir; the mini CNN must be in ``cnn`` beside it.

    Distillation of features (Romero et al., FitNets, 2015): from each of its 6 x 6 tokens the ViT is to tell the CNN's
    features at that place, and from their mean the CNN's mean. The CNN never saw a caption, so neither has the ViT.
    """
    import timm

    cnn: Any = timm.create_model(f"local-dir:{folder.parent / 'cnn'}", pretrained=True).eval()
    cnn = cnn.to(device(), memory_format=torch.channels_last)
    torch.manual_seed(seed)
    model: Any = timm.create_model(ARCHITECTURE, num_classes=0, **ARGUMENTS)
    both = nn.ModuleList([model, nn.Linear(model.num_features, cnn.num_features)]).to(device())
    images = np.stack([scene.image for scene in draw(seed, SCENES)])
    rng = np.random.default_rng(seed)
    spread = _features(cnn, images[:SAMPLED]).std((0, 2, 3)).clamp(min=1e-3)[:, None, None]

    def loss(step: int) -> torch.Tensor:
        batch = images[rng.choice(SCENES, BATCH, replace=False)]
        wanted = (_features(cnn, batch) / spread).flatten(2).transpose(1, 2)
        with torch.autocast(device().type, torch.bfloat16):
            told = both[1](model.forward_features(pixels(batch))).float()
        return F.mse_loss(told, wanted) + wanted.shape[1] * F.mse_loss(told.mean(1), wanted.mean(1))

    train(both, loss, steps=STEPS, rate=RATE, weight_decay=0.05, log=log)
    save(model, folder / "model.safetensors")
    write_timm(folder, ARCHITECTURE, ARGUMENTS, model.num_features, first_conv="patch_embed.proj")


@torch.inference_mode()
def _features(cnn: Any, images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return the CNN's feature maps of n scenes, (n, d, 6, 6) float32."""
    features: torch.Tensor = cnn.forward_features(pixels(images))
    return features.clone()
