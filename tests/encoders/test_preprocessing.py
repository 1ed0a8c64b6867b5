"""Splitting a preprocessing between threads and device changes no bit of what the model sees."""

from __future__ import annotations

import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform
from torchvision import transforms
from torchvision.transforms import v2

from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.testing.encoders import SIZES, draw_image

_TIMM = {"input_size": (3, 56, 56), "crop_pct": 0.8, "mean": (0.2, 0.4, 0.6), "std": (0.3, 0.2, 0.4)}

SPLIT = {
    "timm center": (create_transform(**_TIMM, crop_mode="center"), 70),
    "timm squash": (create_transform(**_TIMM, crop_mode="squash"), 70),
    "timm border": (create_transform(**_TIMM, crop_mode="border"), 70),
    "timm oblong": (create_transform(**{**_TIMM, "input_size": (3, 56, 80)}), 100),
    "timm trimmed": (create_transform(**_TIMM, crop_border_pixels=3), None),
    "open_clip shortest": (image_transform_v2(PreprocessCfg(size=56), is_train=False), 56),
    "open_clip longest": (image_transform_v2(PreprocessCfg(size=56, resize_mode="longest"), is_train=False), 56),
    "open_clip squash": (image_transform_v2(PreprocessCfg(size=56, resize_mode="squash"), is_train=False), 56),
}
WHOLE = {
    "no normalisation": transforms.Compose([transforms.Resize(56), transforms.CenterCrop(56), transforms.ToTensor()]),
    "tensors inside": v2.Compose(
        [v2.ToImage(), v2.Resize((56, 56)), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    ),
    "a function": lambda image: transforms.functional.to_tensor(image.resize((56, 56))),
}


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.parametrize("size", SIZES)
def test_a_split_preprocessing_gives_the_same_bits_from_bytes(name: str, size: tuple[int, int]) -> None:
    transform, _ = SPLIT[name]
    preprocessing = Preprocessing.split(transform, name)
    image = draw_image(size, seed=1)
    prepared = preprocessing.prepare(image)
    assert prepared.dtype == torch.uint8
    normalised = preprocessing.normalise(prepared.unsqueeze(0))[0]
    assert torch.equal(normalised, transform(image))


@pytest.mark.parametrize("name", WHOLE)
def test_any_other_preprocessing_is_kept_whole(name: str) -> None:
    preprocessing = Preprocessing.split(WHOLE[name], name)
    image = draw_image((80, 60), seed=1)
    prepared = preprocessing.prepare(image)
    assert prepared.dtype == torch.float32
    assert torch.equal(preprocessing.normalise(prepared.unsqueeze(0))[0], WHOLE[name](image))


def test_geometry_that_leaves_rgb_falls_back_to_the_whole_transform() -> None:
    transform = transforms.Compose([transforms.Grayscale(1), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    image = draw_image((80, 60), seed=1)
    assert torch.equal(Preprocessing.split(transform, "").prepare(image), transform(image))


@pytest.mark.parametrize("name", SPLIT)
def test_decode_size_is_the_side_that_the_resizing_needs(name: str) -> None:
    transform, expected = SPLIT[name]
    assert Preprocessing.split(transform, name).decode_size == expected


def test_normalising_does_not_write_into_its_input() -> None:
    preprocessing = Preprocessing.split(SPLIT["open_clip squash"][0], "")
    batch = preprocessing.prepare(Image.new("RGB", (56, 56), "orange")).unsqueeze(0)
    before = batch.clone()
    preprocessing.normalise(batch)
    assert torch.equal(batch, before)
