"""Real photographs whose five captions each say what they show: vectors of the test split, aligned as users get them."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.decoding.decode import decode_file
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import DualEncoder, ImageEncoder

ROOT = Path(__file__).parent.parent
REAL = Path(os.environ.get("T2C_REAL_DATA", ROOT.parent / "shared" / "real"))
BATCH = 64
QUICK_PAIRS = 600

MASS = {"snow", "water", "grass", "sand", "people", "mud", "food", "fruit"}
NOUNS = (
    "dog person man woman boy girl child baby people snow water grass beach ball bicycle street shirt rock mountain tree "
    "ocean sand hat car field pool wall park skateboard crowd jacket building soccer football horse road helmet bench "
    "motorcycle lake river boat tennis basketball fence glasses sidewalk camera toy hill"
)
PLURALS = {"man": "men", "woman": "women", "child": "children", "person": "people", "baby": "babies"}


@dataclass(frozen=True)
class Photos:
    """The test split: names, unit rows (n, d) float32 in CLIP space, captions, and the model that reads texts."""

    names: list[str]
    rows: NDArray[np.float32]
    captions: dict[str, list[str]]
    clip: DualEncoder

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.clip.encode_texts(list(texts)).cpu().numpy()

    @cached_property
    def words(self) -> list[set[str]]:
        """Words of each photo's captions."""
        return [words(self.captions[name]) for name in self.names]

    def shows(self, noun: str) -> NDArray[np.bool_]:
        """Which photos have the noun, or its plural, in any of their captions."""
        return np.array([bool(said & forms(noun)) for said in self.words])

    def frequent(self, least: int) -> list[str]:
        """Nouns that at least so many photos show, most frequent first."""
        counts = {noun: int(self.shows(noun).sum()) for noun in NOUNS.split()}
        return [noun for noun in sorted(counts, key=lambda noun: -counts[noun]) if counts[noun] >= least]


def words(captions: Sequence[str]) -> set[str]:
    """Words of a photo's captions, in lower case."""
    return set(re.findall("[a-z]+", " ".join(captions).lower()))


def forms(noun: str) -> set[str]:
    """A noun and its plural."""
    return {noun, PLURALS.get(noun, f"{noun}s"), f"{noun}es"}


def phrase(noun: str) -> str:
    """How one asks for a noun."""
    return noun if noun in MASS else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def read_captions(split: str) -> dict[str, list[str]]:
    """The captions of a split's photos, ``train`` or ``test``, in order of their names."""
    captions: dict[str, list[str]] = defaultdict(list)
    with (REAL / "photos" / "captions.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            if row["split"] == split:
                captions[row["image"]].append(row["caption"])
    return dict(sorted(captions.items()))


def load_photos(*, quick: bool = False) -> Photos:
    """Embed the test split with MobileNetV1 and align it to the CLIP model, fitted on the training split alone."""
    captions = read_captions("test")
    clip = registry.load(f"open_clip:local-dir:{REAL}/open_clip/flickr-mini", device="cpu")
    backbone = registry.load_image_encoder(f"timm:local-dir:{REAL}/timm/mobilenetv1_100", device="cpu")
    assert isinstance(clip, DualEncoder)
    train, test = list(read_captions("train")), list(captions)
    aligner, _ = fit_aligner(
        (
            (names, _embed(backbone, names), _embed(clip, names))
            for names in _batches(train[: QUICK_PAIRS if quick else None])
        ),
        backbone=encoder_ref(backbone),
        clip=encoder_ref(clip),
        recipe=FitRecipe(concepts=clip.encode_texts(concept_vocabulary(clip.id))),
    )
    rows = torch.cat([aligner(_embed(backbone, names)) for names in _batches(test)])
    return Photos(test, rows.numpy(), captions, clip)


def average_precision(order: NDArray[np.int64], relevant: NDArray[np.bool_]) -> float:
    """Mean of the precision at each relevant photo; one that the ranking leaves out counts 0."""
    hits = relevant[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].sum() / relevant.sum())


def _batches(names: list[str]) -> Iterator[list[str]]:
    return (names[start : start + BATCH] for start in range(0, len(names), BATCH))


def _embed(encoder: ImageEncoder, names: list[str]) -> torch.Tensor:
    folder = REAL / "photos" / "images"
    pictures = [encoder.prepare(decode_file(folder / name, decode_size=encoder.decode_size)) for name in names]
    return encoder.encode_images(torch.stack(pictures)).cpu()
