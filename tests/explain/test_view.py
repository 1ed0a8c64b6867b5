"""Which part of an image a model sees, for what preprocessings are made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, Grayscale, Normalize, Resize, ToTensor
from torchvision.transforms.functional import pil_to_tensor

from t2c_search.encoders import registry
from t2c_search.explain.view import View, view_of


class Preparing:
    """An encoder as far as its preprocessing."""

    def __init__(self, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.prepare = transform


def padded(image: Image.Image, colour: str) -> torch.Tensor:
    return pil_to_tensor(ImageOps.pad(image, (64, 64), color=colour))


NORMALISE = [ToTensor(), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.1))]
CROPPED = [Resize(64), CenterCrop(48)]
SEEN = {
    "crop": (Compose([*CROPPED, pil_to_tensor]), (200, 100), View(40 / 128, 8 / 64, 88 / 128, 56 / 64)),
    "upright": (Compose([*CROPPED, pil_to_tensor]), (100, 200), View(8 / 64, 40 / 128, 56 / 64, 88 / 128)),
    "normalised": (Compose([*CROPPED, *NORMALISE]), (200, 100), View(40 / 128, 8 / 64, 88 / 128, 56 / 64)),
    "grey": (Compose([*CROPPED, Grayscale(3), *NORMALISE]), (64, 64), View(8 / 64, 8 / 64, 56 / 64, 56 / 64)),
    "squashed": (Compose([Resize((64, 64)), *NORMALISE]), (300, 90), View(0, 0, 1, 1)),
    "padded": (lambda image: padded(image, "black"), (200, 100), View(0, -0.5, 1, 1.5)),
    "padded grey": (lambda image: padded(image, "grey"), (100, 200), View(-0.5, 0, 1.5, 1)),
    "as it is": (Compose([CenterCrop(50), pil_to_tensor]), (200, 100), View(75 / 200, 25 / 100, 125 / 200, 75 / 100)),
}


@pytest.mark.parametrize("name", SEEN)
def test_the_part_that_a_model_sees_is_found(name: str) -> None:
    transform, size, expected = SEEN[name]
    found = view_of(Preparing(transform), size)
    for side in View.__slots__:
        assert getattr(found, side) == pytest.approx(getattr(expected, side), abs=0.006), side


@pytest.mark.parametrize("model", ["mini", "mini:cnn", "mini:vit"])
def test_the_mini_models_see_all_of_a_scene(model: str) -> None:
    found = view_of(registry.load_image_encoder(model, device="cpu"), (96, 96))
    assert [getattr(found, side) for side in View.__slots__] == pytest.approx([0, 0, 1, 1], abs=0.006)
