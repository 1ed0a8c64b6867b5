"""On real photographs: the default method beats plain ridge where search is concerned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from t2c_search.alignment.evaluation import concept_fidelity, recall
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.encoders import registry
from t2c_search.types import EncoderRef, Fingerprint

PHOTOS, FIT_ON = 120, 80  # few, because a processor takes long to embed them


def backbone_rows(real_data: Path, names: list[str]) -> torch.Tensor:
    encoder = registry.load_image_encoder(f"timm:local-dir:{real_data}/timm/mobilenetv2_100", device="cpu")
    images = [encoder.prepare(Image.open(real_data / "photos/images" / name).convert("RGB")) for name in names]
    return torch.cat([encoder.encode_images(torch.stack(images[i : i + 50])) for i in range(0, len(images), 50)])


def test_clip_vit_b32_from_mobilenet(real_data: Path) -> None:
    folder = real_data / "clip_vit_b32"
    names = (folder / "image_names.txt").read_text().split()[:PHOTOS]
    y, concepts = (
        normalize(torch.from_numpy(np.load(folder / f"{part}_embeddings.npy").astype(np.float32)))
        for part in ("image", "concept")
    )
    x, y = backbone_rows(real_data, names), y[:PHOTOS]
    backbone = EncoderRef("timm:mobilenetv2_100", x.shape[1], Fingerprint("w", "p"))
    clip = EncoderRef("precomputed:clip_vit_b32", y.shape[1], Fingerprint("w", "p"))

    def rows(criterion: str, method: str) -> torch.Tensor:
        pairs = [(names[:FIT_ON], x[:FIT_ON], y[:FIT_ON])]
        aligner, _ = fit_aligner(
            pairs, backbone=backbone, clip=clip, recipe=FitRecipe(concepts=concepts, criterion=criterion, method=method)
        )
        return aligner(x[FIT_ON:])

    ours, ridge, true = rows("auto", "spherical-ridge"), rows("r2", "ridge"), y[FIT_ON:]
    assert concept_fidelity(ours, true, concepts) > concept_fidelity(ridge, true, concepts) + 0.05
    assert recall(ours, true, 1) > recall(ridge, true, 1) + 0.1
