"""Which encoders can be looked into, and that what is seen there lies where it is said to lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from t2c_search.encoders import registry
from t2c_search.encoders.capabilities import (
    AttentionBlocks,
    AttentionPooled,
    Differentiable,
    FeatureMaps,
    SumOfPlaces,
    TokenizedTexts,
    capabilities,
)
from t2c_search.testing.encoders import DualEncoderContract, ImageEncoderContract
from tests.encoders import tiny

MAP = {Differentiable, FeatureMaps}
SUM = {*MAP, SumOfPlaces}
BLOCKS = {*MAP, AttentionBlocks}
CLASS = {*BLOCKS, AttentionPooled}
TIMM_TRUNK = {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "mlp", "image_size": 64}


class TestMini(DualEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self) -> str:
        return "mini"


class TestMiniConvolutional(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self) -> str:
        return "mini:cnn"


class TestMiniTransformer(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self) -> str:
        return "mini:vit"


class TestOpenClipAroundTimm(DualEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(tiny.OPEN_CLIP_CONFIG, "vision_cfg", TIMM_TRUNK)
            return tiny.save_open_clip(tmp_path_factory.mktemp("clip") / "model", seed=0)


def save(name: str, folder: Path) -> str:
    match name.partition(":"):
        case ("timm", _, architecture):
            return tiny.save_timm(folder / "model", architecture, seed=0)
        case ("open_clip", _, _):
            return tiny.save_open_clip(folder / "model", seed=0)
        case ("st", _, _):
            return tiny.save_st_images(folder / "model", seed=0)
        case ("torch", _, _):
            return tiny.save_factory(folder, "a_backbone_to_look_into", seed=0)
        case ("precomputed", _, _):
            return tiny.save_precomputed(folder / "model", {"a.jpg": np.ones(3)}, {})
    return name


@pytest.mark.parametrize(
    ("name", "expected", "grid"),
    [
        ("mini", {*MAP, AttentionPooled, TokenizedTexts}, (3, 3)),
        ("mini:cnn", SUM, (6, 6)),
        ("mini:vit", {*BLOCKS, SumOfPlaces}, (6, 6)),
        ("mini:vit?layers=3", {Differentiable, SumOfPlaces}, None),
        ("mini?layers=2", {Differentiable}, None),
        ("timm:test_resnet", SUM, (2, 2)),
        ("timm:test_convnext", SUM, (2, 2)),
        ("timm:test_vit", CLASS, (4, 4)),
        ("timm:test_mambaout", {Differentiable}, None),
        ("open_clip", {*CLASS, TokenizedTexts}, (4, 4)),
        ("st", {Differentiable}, None),
        ("torch", {Differentiable}, None),
        ("precomputed", set(), None),
    ],
)
def test_each_encoder_tells_what_it_is_capable_of(
    name: str, expected: set[type], grid: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    encoder = registry.load(save(name, tmp_path), device="cpu")
    assert capabilities(encoder) == expected
    if grid:
        assert encoder.feature_map(encoder.normalise(blank(encoder))).grid == grid


@pytest.mark.parametrize("name", ["mini", "mini:cnn", "mini:vit", "timm:test_resnet", "timm:test_vit", "open_clip"])
def test_what_changes_in_a_corner_changes_that_corner_of_the_map_more_than_others(name: str, tmp_path: Path) -> None:
    encoder = registry.load(save(name, tmp_path), device="cpu")
    plain = encoder.normalise(blank(encoder))
    before = encoder.feature_map(plain)
    rows, columns = before.grid
    height, width = plain.shape[2] // rows, plain.shape[3] // columns
    corners = [(row, column) for row in (0, rows - 1) for column in (0, columns - 1)]
    for row, column in corners:
        marked = plain.clone()
        marked[..., row * height : (row + 1) * height, column * width : (column + 1) * width] += 1
        change = (encoder.feature_map(marked).values - before.values).norm(dim=2)[0, -rows * columns :]
        at_corners = {corner: change[corner[0] * columns + corner[1]].item() for corner in corners}
        assert max(at_corners, key=at_corners.__getitem__) == (row, column)


def blank(encoder: object) -> torch.Tensor:
    from PIL import Image

    return encoder.prepare(Image.new("RGB", (96, 96), "grey")).unsqueeze(0)
