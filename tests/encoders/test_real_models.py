"""Real models on real photographs: what they see agrees with what people wrote."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder, PixelEncoder

PHOTOS = 80


@pytest.fixture(scope="module")
def test_captions(real_data: Path) -> dict[str, str]:
    """The first caption of each of the first test photos."""
    captions: dict[str, str] = {}
    with (real_data / "photos" / "captions.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == "test":
                captions.setdefault(row["image"], row["caption"])
    return dict(list(captions.items())[:PHOTOS])


def embed(encoder: PixelEncoder, folder: Path, names: Sequence[str]) -> torch.Tensor:
    batch = torch.stack([encoder.prepare(Image.open(folder / name).convert("RGB")) for name in names])
    return torch.nn.functional.normalize(encoder.encode_images(batch))


def test_flickr_mini_finds_photos_by_their_captions(real_data: Path, test_captions: dict[str, str]) -> None:
    model = registry.load_clip(f"open_clip:local-dir:{real_data}/open_clip/flickr-mini", device="cpu")
    assert isinstance(model, DualEncoder)
    assert (model.image_dim, model.text_dim, model.decode_size) == (256, 256, 224)
    images = embed(model, real_data / "photos" / "images", list(test_captions))
    texts = model.encode_texts(list(test_captions.values()))
    own = (texts @ images.T).argsort(dim=1, descending=True) == torch.arange(len(texts)).unsqueeze(1)
    recall_at_10 = own[:, :10].any(dim=1).float().mean().item()
    assert recall_at_10 > 0.7  # chance: 0.125


@pytest.mark.parametrize(("name", "dim"), [("mobilenetv1_100", 1024), ("mobilenetv2_100", 1280)])
def test_mobilenets_place_dogs_beside_dogs(real_data: Path, name: str, dim: int) -> None:
    encoder = registry.load_image_encoder(f"timm:local-dir:{real_data}/timm/{name}", device="cpu")
    assert (encoder.image_dim, encoder.decode_size) == (dim, 256)
    folder = real_data / "photos_fullsize"
    names = sorted(path.name for path in folder.glob("n02*.JPEG"))[:40]
    is_dog = np.array(["n02085" <= name[:6] <= "n02113" for name in names])  # ImageNet's numbers of the dog breeds
    rows = embed(encoder, folder, names)
    nearest = (rows @ rows.T - 2 * torch.eye(len(names))).argmax(dim=1).numpy()
    assert is_dog.sum() >= 10
    assert is_dog[nearest[is_dog]].mean() >= 0.9


def test_real_clip_vectors_find_photos_by_concept(real_data: Path) -> None:
    model = registry.load_clip(f"precomputed:{real_data}/clip_vit_b32", device="cpu")
    assert isinstance(model, DualEncoder)
    with (real_data / "photos" / "captions.csv").open(newline="", encoding="utf-8") as file:
        dogs = {row["image"] for row in csv.DictReader(file) if "dog" in row["caption"].lower().split()}
    names = (real_data / "clip_vit_b32" / "image_names.txt").read_text().splitlines()
    rows = torch.stack([model.look_up(f"/anywhere/{name}") for name in names])
    scores = (model.encode_images(rows) @ model.encode_texts(["dog"]).T).squeeze(1).numpy()
    is_dog = np.array([name in dogs for name in names])
    wins = (scores[is_dog][:, np.newaxis] > scores[~is_dog][np.newaxis]).mean()  # area under the ROC curve
    assert wins > 0.9
