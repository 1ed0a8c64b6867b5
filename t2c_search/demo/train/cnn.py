"""Train the mini CNN on pixels alone: no caption, no truth and no CLIP vector is looked at here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from t2c_search.concepts.describe.loop import Course, Log, device, save, train
from t2c_search.demo.train.configuration import write_timm
from t2c_search.demo.train.pixels import pixels
from t2c_search.demo.world import films, shots

ARGUMENTS: dict[str, Any] = {
    "layers": [1, 2, 2, 1], "channels": [16, 32, 64, 160], "stem_type": "deep", "stem_width": 8, "avg_down": True,
    "output_stride": 16, "global_pool": "catavgmax",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CnnRecipe:
    """The constants of the mini CNN and of its training."""

    architecture: str = "resnet50"
    arguments: dict[str, Any] = field(default_factory=ARGUMENTS.copy)
    compared: int = 256  # dimensions of the linear map in which frames are compared
    first: int = 1500  # steps on pairs of close-ups
    pairs: int = 40_000
    pair_batch: int = 384
    pair_rate: float = 2e-3
    pair_temperature: float = 0.1
    steps: int = 3400  # all of them; those after the first are on films
    films: int = 24_000
    batch: int = 96
    rate: float = 1.5e-3
    temperature: float = 0.05
    weight_decay: float = 1e-4


def drawn(seed: int, n: int) -> dict[str, bytes]:
    """The first ``n`` of each thing that the model is trained on; other lessons, other bytes."""
    return {
        "shots": b"".join(pair.tobytes() for pair in shots(seed, n)),
        "films": b"".join(frames.tobytes() for film in films(seed, n) for frames in film),
    }


def train_cnn(folder: Path, recipe: CnnRecipe, *, seed: int, log: Log) -> None:
    """Train the mini CNN by contrast between frames of films and write it to ``folder`` as a timm local-dir.

    First, two close-ups of one thing are to be more alike than close-ups of two things (InfoNCE, van den Oord et al.
    2018), as in learning from video. Then a wide shot is to be like the close-ups of what it shows, and unlike those of
    other films: so the mean over a scene comes to hold each of the things in it. Frames are compared in a linear map of
    the pooled features, so that a linear map, which is all that an aligner is, can read from the features what is there.
    """
    import timm

    torch.manual_seed(seed)
    model: Any = timm.create_model(recipe.architecture, num_classes=0, **recipe.arguments)
    compare = nn.Linear(model.head_hidden_size, recipe.compared)
    both = nn.ModuleList([model, compare]).to(device())
    both.to(memory_format=torch.channels_last)
    rng = np.random.default_rng(seed)

    def see(*frames: npt.NDArray[np.uint8]) -> list[torch.Tensor]:
        with torch.autocast(device().type, torch.bfloat16):
            features = [model(pixels(each)) for each in frames]
        return [F.normalize(compare(each.float()), dim=1) for each in features]

    pairs = np.stack(list(shots(seed, recipe.pairs)))
    batches = _films(seed, rng, films_in_all=recipe.films, batch=recipe.batch)

    def alike(_: int) -> torch.Tensor:
        chosen = pairs[rng.choice(recipe.pairs, recipe.pair_batch, replace=False)]
        (seen,) = see(np.concatenate([chosen[:, 0], chosen[:, 1]]))
        first, second = seen.chunk(2)
        logits = first @ second.T / recipe.pair_temperature
        partner = torch.arange(recipe.pair_batch, device=logits.device)
        return (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2

    first = Course(recipe.first, recipe.pair_rate, recipe.weight_decay)
    train(both, alike, first, lambda line: log(f"pairs, {line}"))

    def together(_: int) -> torch.Tensor:
        wide, close, film = next(batches)
        scenes, things = see(wide, close)
        return _contrast(things @ scenes.T / recipe.temperature, torch.from_numpy(film).to(scenes.device))

    then = Course(recipe.steps - recipe.first, recipe.rate, recipe.weight_decay)
    train(both, together, then, lambda line: log(f"films, {line}"))
    save(model, folder / "model.safetensors")
    write_timm(folder, recipe.architecture, recipe.arguments, model.head_hidden_size, first_conv="conv1.0")


def _films(
    seed: int, rng: np.random.Generator, *, films_in_all: int, batch: int
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Yield random batches for ever: wide shots (b, 96, 96, 3), all their close-ups (m, 48, 48, 3), and whose each is (m,)."""
    wide, close = zip(*films(seed, films_in_all), strict=True)
    while True:
        chosen = rng.choice(films_in_all, batch, replace=False)
        film = np.repeat(np.arange(batch), [len(close[i]) for i in chosen])
        yield np.stack([wide[i] for i in chosen]), np.concatenate([close[i] for i in chosen]), film


def _contrast(logits: torch.Tensor, film: torch.Tensor) -> torch.Tensor:
    """Softmax contrastive loss of (m close-ups, b wide shots) both ways; a wide shot's positives are all its close-ups."""
    own = F.one_hot(film, logits.shape[1]).float()
    share = own / own.sum(0, keepdim=True)
    return F.cross_entropy(logits, film) - (share * logits.log_softmax(0)).sum(0).mean()
