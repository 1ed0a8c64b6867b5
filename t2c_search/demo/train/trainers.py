"""The four mini models in the order in which they are trained: by what, with which constants, and from which others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from t2c_search.concepts.describe.loop import OPTIMISER
from t2c_search.demo.train import clip, cnn, decoder, vit
from t2c_search.demo.train.pixels import MEAN, STD

SEED = 7


@dataclass(frozen=True, slots=True)
class Trainer:
    """How a model is trained.

    ``train(folder, recipe, seed=..., log=...)`` writes it; ``drawn(seed, n)`` gives the first n of all that it is trained
    on, as bytes by name; ``learns_from`` names the models that must stand beside it.
    """

    train: Callable[..., None]
    recipe: clip.ClipRecipe | cnn.CnnRecipe | vit.VitRecipe | decoder.MiniDecoderRecipe
    drawn: Callable[[int, int], dict[str, bytes]]
    learns_from: tuple[str, ...] = ()

    def constants(self) -> dict[str, Any]:
        """Every constant of the recipe, by name."""
        return {**asdict(self.recipe), "optimiser": asdict(OPTIMISER), "mean": MEAN, "std": STD}


TRAINERS = {
    "clip": Trainer(clip.train_clip, clip.ClipRecipe(), clip.drawn),
    "cnn": Trainer(cnn.train_cnn, cnn.CnnRecipe(), cnn.drawn),
    "vit": Trainer(vit.train_vit, vit.VitRecipe(), vit.drawn, learns_from=("cnn",)),
    "decoder": Trainer(decoder.train_mini_decoder, decoder.MiniDecoderRecipe(), decoder.drawn, learns_from=("clip",)),
}
