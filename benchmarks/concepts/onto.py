"""Any model onto any other: B's probe, asked about A's images, for all ordered pairs of three real backbones.

The aligner is fitted on 2,164 photographs of Flickr8k, whatever they show; probes are trained on CIFAR-10's training images and
asked about its test images. What is retained is B's probe on A's carried rows over A's own probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._common import table
from benchmarks._parts import Measured, real_data
from t2c_search.alignment.fit import fit_aligner
from t2c_search.concepts.retained import Labelled, retained_accuracy
from t2c_search.decoding.decode import decode_file
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import PixelEncoder

MODELS = {
    "MobileNetV1": "mobilenetv1_100",
    "MobileNetV2": "mobilenetv2_100",
    "DINOv2 ViT-S/14": "vit_small_dinov2_saliency",
}
SHOWN = ("own probe", "the other's own", "carried", "retained")
PAIRS, QUICK_PAIRS = 2164, 60
A_CLASS, QUICK_A_CLASS = {"train": 300, "test": 200}, {"train": 5, "test": 5}
BATCH = 64


def measure(quick: bool) -> Measured:
    real = real_data()
    if real is None:
        return Measured({"onto": "real data not found: set T2C_REAL_DATA"}, [], [])
    names = list(MODELS)[: 2 if quick else None]
    encoders = {name: registry.load_image_encoder(f"timm:local-dir:{real / 'timm' / MODELS[name]}") for name in names}
    photos = sorted((real / "photos" / "images").iterdir())[:: 60 if quick else 1]
    photos = photos[: QUICK_PAIRS if quick else PAIRS]
    labelled, trained = _cifar(real / "cifar10", QUICK_A_CLASS if quick else A_CLASS)
    of_photos = {name: _embed(encoder, photos) for name, encoder in encoders.items()}
    of_cifar = {name: _embed(encoder, labelled) for name, encoder in encoders.items()}
    figures = {}
    for one in names:
        for other in names:
            if one == other or (quick and (one, other) != (names[0], names[1])):
                continue
            aligner, _ = fit_aligner(
                [([path.name for path in photos], of_photos[one], of_photos[other])],
                backbone=encoder_ref(encoders[one]),
                clip=encoder_ref(encoders[other]),
            )
            rows = (of_cifar[one], of_cifar[other], aligner(of_cifar[one]))
            found = retained_accuracy(
                Labelled([path.parent.name for path in labelled], *(each.numpy() for each in rows)), trained
            )
            figures[f"{one} onto {other}"] = dict(
                zip(SHOWN, (found.own, found.of_other, found.carried, found.retained), strict=True)
            )
    title = f"CIFAR-10, {sum(trained)} images to train probes, {len(trained) - sum(trained)} to test them"
    return Measured({"onto": figures}, [table(title, figures, SHOWN)], [])


def _cifar(folder: Path, a_class: dict[str, int]) -> tuple[list[Path], list[bool]]:
    """Return labelled images, by their folders, and which of them train."""
    chosen = [
        (path, split == "train")
        for split, most in a_class.items()
        for kind in sorted((folder / split).iterdir())
        for path in sorted(kind.iterdir())[:most]
    ]
    return [path for path, _ in chosen], [trains for _, trains in chosen]


def _embed(encoder: PixelEncoder, paths: Sequence[Path]) -> Tensor:
    parts = []
    for start in range(0, len(paths), BATCH):
        prepared = [encoder.prepare(decode_file(path)) for path in paths[start : start + BATCH]]
        parts.append(encoder.encode_images(torch.stack(prepared)).cpu())
    return torch.cat(parts)
