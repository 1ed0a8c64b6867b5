"""Train the mini CNN on pixels alone: no caption, no truth and no CLIP vector is looked at here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from t2c_search.demo.train.configuration import write_timm
from t2c_search.demo.train.loop import Log, device, pixels, save, train
from t2c_search.demo.world import films, shots

ARCHITECTURE = "resnet50"
ARGUMENTS: dict[str, Any] = {
    "layers": [1, 2, 2, 1], "channels": [16, 32, 64, 160], "stem_type": "deep", "stem_width": 8, "avg_down": True,
    "output_stride": 16, "global_pool": "catavgmax",
}  # fmt: skip
COMPARED = 256  # dimensions of the linear map in which frames are compared

FIRST, PAIRS, PAIR_BATCH = 1500, 40_000, 384  # steps on pairs of close-ups, the pairs, and those in a step
PAIR_RATE, PAIR_TEMPERATURE = 2e-3, 0.1
STEPS, FILMS, BATCH = 3400, 24_000, 96  # all steps, the films that the rest are on, and those in a step
RATE, TEMPERATURE = 1.5e-3, 0.05


def train_cnn(folder: Path, *, seed: int, log: Log) -> None:
    """Train the mini CNN by contrast between frames of films and write it to ``folder`` as a timm local-dir.

    First, two close-ups of one thing are to be more alike than close-ups of two things (InfoNCE, van den Oord et al.
    2018), as in learning from video. Then a wide shot is to be like the close-ups of what it shows, and unlike those of
    other films: so the mean over a scene comes to hold each of the things in it. Frames are compared in a linear map of
    the pooled features, so that a linear map, which is all that an aligner is, can read from the features what is there.
    """
    import timm

    torch.manual_seed(seed)
    model: Any = timm.create_model(ARCHITECTURE, num_classes=0, **ARGUMENTS)
    compare = nn.Linear(model.head_hidden_size, COMPARED)
    both = nn.ModuleList([model, compare]).to(device())
    both.to(memory_format=torch.channels_last)
    rng = np.random.default_rng(seed)

    def see(*frames: npt.NDArray[np.uint8]) -> list[torch.Tensor]:
        with torch.autocast(device().type, torch.bfloat16):
            features = [model(pixels(each)) for each in frames]
        return [F.normalize(compare(each.float()), dim=1) for each in features]

    pairs = np.stack(list(shots(seed, PAIRS)))
    batches = _films(seed, rng)

    def alike(_: int) -> torch.Tensor:
        chosen = pairs[rng.choice(PAIRS, PAIR_BATCH, replace=False)]
        (seen,) = see(np.concatenate([chosen[:, 0], chosen[:, 1]]))
        first, second = seen.chunk(2)
        logits = first @ second.T / PAIR_TEMPERATURE
        partner = torch.arange(PAIR_BATCH, device=logits.device)
        return (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2

    train(both, alike, steps=FIRST, rate=PAIR_RATE, weight_decay=1e-4, log=lambda line: log(f"pairs, {line}"))

    def together(_: int) -> torch.Tensor:
        wide, close, film = next(batches)
        scenes, things = see(wide, close)
        return _contrast(things @ scenes.T / TEMPERATURE, torch.from_numpy(film).to(scenes.device))

    train(both, together, steps=STEPS - FIRST, rate=RATE, weight_decay=1e-4, log=lambda line: log(f"films, {line}"))
    save(model, folder / "model.safetensors")
    write_timm(folder, ARCHITECTURE, ARGUMENTS, model.head_hidden_size, first_conv="conv1.0")


def _films(
    seed: int, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Yield random batches for ever: wide shots (b, 96, 96, 3), all their close-ups (m, 48, 48, 3), and whose each is (m,)."""
    wide, close = zip(*films(seed, FILMS), strict=True)
    while True:
        chosen = rng.choice(FILMS, BATCH, replace=False)
        film = np.repeat(np.arange(BATCH), [len(close[i]) for i in chosen])
        yield np.stack([wide[i] for i in chosen]), np.concatenate([close[i] for i in chosen]), film


def _contrast(logits: torch.Tensor, film: torch.Tensor) -> torch.Tensor:
    """Softmax contrastive loss of (m close-ups, b wide shots) both ways; a wide shot's positives are all its close-ups."""
    own = F.one_hot(film, logits.shape[1]).float()
    share = own / own.sum(0, keepdim=True)
    return F.cross_entropy(logits, film) - (share * logits.log_softmax(0)).sum(0).mean()
