"""Train the mini decoder on text alone, as ``t2c fit-decoder`` does, on captions that tell all that is in a scene."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from t2c_search.concepts.describe.folder import write_decoder
from t2c_search.concepts.describe.loop import Log
from t2c_search.concepts.describe.training import Captions, DecoderRecipe, train_decoder
from t2c_search.demo.captions import telling
from t2c_search.demo.words import listing
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref

_READ = 512  # captions embedded at a time


@dataclass(frozen=True, slots=True)
class MiniDecoderRecipe:
    """The constants of the mini decoder and of its training."""

    scenes: int = 15_000  # of which it reads what there is to tell
    decoder: DecoderRecipe = field(
        default_factory=lambda: DecoderRecipe(width=128, dropout=0.0, memory=2048, steps=400, batch=128)
    )

    @property
    def steps(self) -> int:
        """How many steps the training takes."""
        return self.decoder.steps


def drawn(seed: int, n: int) -> dict[str, bytes]:
    """What there is to tell of the first ``n`` scenes, and every word; other lessons, other bytes."""
    return {
        "captions": "\n".join(telling(scene.truth) for scene in draw(seed, n)).encode(),
        "words": listing().encode(),
    }


def train_mini_decoder(folder: Path, recipe: MiniDecoderRecipe, *, seed: int, log: Log) -> None:
    """Train the mini decoder in the space of the mini CLIP, which must be in ``clip`` beside ``folder``, and write it."""
    clip = registry.load_clip(f"open_clip:local-dir:{folder.parent / 'clip'}")
    tower = registry.require_text(clip)

    def embed(texts: list[str]) -> torch.Tensor:
        return torch.cat([tower.encode_texts(texts[start : start + _READ]) for start in range(0, len(texts), _READ)])

    captions = Captions.of((telling(scene.truth) for scene in draw(seed, recipe.scenes)), embed)
    trained = train_decoder(captions, recipe.decoder, seed=seed, log=log)
    write_decoder(folder, trained, replace(encoder_ref(clip), id="mini"))
