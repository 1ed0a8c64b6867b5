"""Train the mini CNN on pixels alone: no caption, no truth and no CLIP vector is looked at here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from t2c_search.demo.train.configuration import write_timm
from t2c_search.demo.train.loop import Log, device, pixels, save, train
from t2c_search.demo.world import shots

ARCHITECTURE = "resnet50"
ARGUMENTS: dict[str, Any] = {
    "layers": [1, 2, 2, 1], "channels": [16, 32, 64, 160], "stem_type": "deep", "stem_width": 8, "avg_down": True,
    "output_stride": 16,
}  # fmt: skip
STEPS = 2500
BATCH = 384
RATE = 2e-3
PAIRS = 40_000  # of close-ups
TEMPERATURE = 0.1
COMPARED = 256  # dimensions of the linear map in which close-ups are compared


def train_cnn(folder: Path, *, seed: int, log: Log) -> None:
    """Train the mini CNN by contrast between close-ups and write it to ``folder`` as a timm local-dir.

    Two frames of a film about one thing are to be more alike than frames of two films (InfoNCE, van den Oord et al.
    2018), as in learning from video. They are compared in a linear map of the pooled features, so that a linear map, which is
    all that an aligner is, can read from the features what the thing is.
    """
    import timm

    torch.manual_seed(seed)
    model: Any = timm.create_model(ARCHITECTURE, num_classes=0, **ARGUMENTS)
    compare = nn.Linear(model.num_features, COMPARED)
    both = nn.ModuleList([model, compare]).to(device())
    both.to(memory_format=torch.channels_last)
    frames = np.stack(list(shots(seed, PAIRS)))
    rng = np.random.default_rng(seed)

    def loss(step: int) -> torch.Tensor:
        pairs = frames[rng.choice(PAIRS, BATCH, replace=False)]
        with torch.autocast(device().type, torch.bfloat16):
            features = model(pixels(np.concatenate([pairs[:, 0], pairs[:, 1]])))
        first, second = F.normalize(compare(features.float()), dim=1).chunk(2)
        logits = first @ second.T / TEMPERATURE
        partner = torch.arange(BATCH, device=logits.device)
        return (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2

    train(both, loss, steps=STEPS, rate=RATE, weight_decay=1e-4, log=log)
    save(model, folder / "model.safetensors")
    write_timm(folder, ARCHITECTURE, ARGUMENTS, model.num_features, first_conv="conv1.0")
