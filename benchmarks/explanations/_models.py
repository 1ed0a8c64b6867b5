"""The models whose maps are measured: an image side, how it comes into a CLIP model's space, and a collection's mean there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from t2c_search.alignment.aligner import Aligner
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.methods import place_factors
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import DualEncoder

BATCH = 32
T = TypeVar("T")

Picture = Callable[[], Image.Image]
"""Opens or draws a picture."""


@dataclass(frozen=True)
class Model:
    """Pictures to unit rows in the space of ``clip``: by its own image side, or through an aligner by another's."""

    encoder: Any
    aligner: Aligner | None
    clip: DualEncoder
    mean: Tensor
    """(d,): of the rows of the pictures that it was fitted on, or would have been."""

    def pixels(self, pictures: Sequence[Picture]) -> Tensor:
        return self.encoder.normalise(torch.stack([self.encoder.prepare(picture()) for picture in pictures]))

    def project(self, rows: Tensor) -> Tensor:
        """The encoder's own rows to unit rows (n, d)."""
        return normalize(rows) if self.aligner is None else self.aligner(rows)

    def rows(self, pixels: Tensor) -> Tensor:
        """Unit rows (n, d), through which gradients flow."""
        return self.project(self.encoder.embed(pixels))

    def factors(self, pixels: Tensor, method: str = "auto") -> PlaceFactors:
        return place_factors(self.encoder, self.aligner, pixels, method)

    def factors_of(self, pictures: Sequence[Picture], method: str = "auto") -> PlaceFactors:
        """The factors of any number of pictures."""
        found = [self.factors(self.pixels(batch), method) for batch in batches(pictures)]
        vectors, base, parts = (
            torch.cat([getattr(part, name) for part in found]) for name in ("vectors", "base", "parts")
        )
        return PlaceFactors(vectors, base, parts, found[0].method, found[0].grid)

    def texts(self, texts: Sequence[str]) -> Tensor:
        return self.clip.encode_texts(texts)


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def embed(encoder: Any, pictures: Sequence[Picture]) -> Tensor:
    """The encoder's own rows, (n, d)."""
    prepared = (torch.stack([encoder.prepare(picture()) for picture in batch]) for batch in batches(pictures))
    return torch.cat([encoder.encode_images(batch) for batch in prepared])


def align(encoder: Any, clip: DualEncoder, ids: Sequence[str], x: Tensor, y: Tensor) -> Model:
    """A backbone, fitted by the default recipe on the pairs of its rows and the CLIP model's own."""
    recipe = FitRecipe(concepts=clip.encode_texts(concept_vocabulary(clip.id)))
    aligner, _ = fit_aligner(
        [(ids, x, normalize(y))], backbone=encoder_ref(encoder), clip=encoder_ref(clip), recipe=recipe
    )
    return Model(encoder, aligner, clip, aligner(x).mean(0))


def shuffle(encoder: Any) -> None:
    """Shuffle the numbers of each of a model's weights, in place: what it has learnt goes, how large they are stays."""
    generator = torch.Generator().manual_seed(0)
    for weight in encoder.module.parameters():
        weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=generator)].view_as(weight))
