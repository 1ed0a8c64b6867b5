"""What pools by mean or maximum is a sum over places, whatever comes behind, and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from timm.layers.mlp import Mlp
from torch import nn
from torch.nn.functional import normalize

from t2c_search.attribution import exact, integrals, jacobian
from t2c_search.attribution.methods import place_factors
from t2c_search.encoders import registry
from t2c_search.encoders.adapters.pooling import Pooling, leaves
from t2c_search.encoders.adapters.stages import _gathered
from t2c_search.encoders.capabilities import FeatureMap
from t2c_search.encoders.pool import default_pool
from t2c_search.testing.encoders import draw_image
from tests.attribution.encoders import aligner_of

ROUNDING = 3e-6
MINI = ("mini:cnn", "mini:vit", "mini:vit?layers=3", "mini:cnn?layers=3")
REAL = (
    *("timm:local-dir:timm/mobilenetv1_100", "timm:local-dir:timm/mobilenetv2_100"),
    *("timm:local-dir:timm/mobilenetv1_100?layers=3", "open_clip:local-dir:open_clip/flickr-mini"),
)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)).double()


def assert_sums(encoder_id: str, images: list[Image.Image]) -> None:
    encoder = default_pool().load(encoder_id, device="cpu", dtype="float32")
    batch = torch.stack([encoder.prepare(image) for image in images])
    for aligner in (None, aligner_of(encoder.image_dim), aligner_of(encoder.image_dim, axis=False)):
        found = place_factors(encoder, aligner, encoder.normalise(batch))
        rows = encoder.encode_images(batch)
        vectors = normalize(rows) if aligner is None else aligner(rows)
        assert found.method == "exact"
        assert (found.base + found.parts.sum(1) - vectors).norm(dim=1).max() < ROUNDING
        assert found.residual.norm(dim=1).max() < ROUNDING


@pytest.mark.parametrize("encoder_id", MINI)
def test_factors_sum_to_the_aligned_vectors(encoder_id: str) -> None:
    assert_sums(encoder_id, [draw_image((96, 80), seed) for seed in range(3)])


@pytest.mark.parametrize("name", REAL)
def test_factors_of_real_photographs_sum_to_their_aligned_vectors(name: str, real_data: Path) -> None:
    photographs = sorted((real_data / "photos" / "images").iterdir())[:3]
    kind, _, place = name.partition("local-dir:")
    assert_sums(f"{kind}local-dir:{real_data / place}", [Image.open(each).convert("RGB") for each in photographs])


@pytest.mark.parametrize("kind", ["avg", "max", "avgmax", "catavgmax"])
@pytest.mark.parametrize("all_tokens", [False, True])
def test_pooling_is_a_sum(kind: str, all_tokens: bool) -> None:
    values = drawn(2, 14, 5)
    seen = values if all_tokens else values[:, 2:]
    pools = {"avg": seen.mean(1), "max": seen.amax(1)}
    pools |= {"avgmax": (pools["avg"] + pools["max"]) / 2, "catavgmax": torch.cat([pools["avg"], pools["max"]], 1)}
    sums = Pooling(kind, (), all_tokens).sums(FeatureMap(values, (3, 4)))
    torch.testing.assert_close(sums.total, pools[kind])
    assert sums.parts.shape[1] == 12
    assert all_tokens or not sums.base.any()


def test_a_channels_maximum_belongs_to_the_first_place_that_has_it() -> None:
    values = torch.tensor([[[1.0, 5.0], [3.0, 5.0], [3.0, 4.0]]])
    parts = Pooling("max").sums(FeatureMap(values, (1, 3))).parts
    assert parts.tolist() == [[[0.0, 5.0], [3.0, 0.0], [0.0, 0.0]]]


def test_a_norm_behind_is_held_at_the_deviation_of_the_whole() -> None:
    values, norm = drawn(2, 6, 8), nn.LayerNorm(8).double()
    with torch.no_grad():
        norm.weight.copy_(drawn(8))
        norm.bias.copy_(drawn(3, 8)[0])
        sums = Pooling("avg", (norm,)).sums(FeatureMap(values, (2, 3)))
        pooled = values.mean(1)
        torch.testing.assert_close(sums.total, norm(pooled))
        deviation = (pooled.var(1, correction=0) + norm.eps).sqrt().view(2, 1, 1)
        expected = (values - values.mean(2, keepdim=True)) / 6 / deviation * norm.weight
    torch.testing.assert_close(sums.parts, expected)
    torch.testing.assert_close(sums.base, norm.bias.expand(2, 8).detach())


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU, nn.ReLU, nn.Hardswish])
def test_a_perceptron_behind_gives_its_jacobian_integrated_from_no_features(activation: type[nn.Module]) -> None:
    torch.manual_seed(1)
    head = Mlp(7, 20, 5, act_layer=activation).double().requires_grad_(False)
    values = 3 * drawn(3, 6, 7)
    values[0] *= 1e-7  # nearly nothing moves: the secant would be rounding
    sums = Pooling("avg", leaves([head])).sums(FeatureMap(values, (2, 3)))
    torch.testing.assert_close(sums.total, head(values.mean(1)), atol=1e-12, rtol=0)
    expected = torch.zeros(3, 6, 5).double()
    for point, weight in integrals.gauss_legendre(500):
        at = (point * values.mean(1)).requires_grad_()
        for dimension in range(5):
            (gradient,) = torch.autograd.grad(head(at)[:, dimension].sum(), at)
            expected[..., dimension] += weight * torch.einsum("nd,npd->np", gradient, values / 6)
    smooth = activation in (nn.GELU, nn.SiLU)
    torch.testing.assert_close(sums.parts, expected, atol=1e-9 if smooth else 2e-3, rtol=0)


def test_heads_of_other_kinds_are_not_said_to_be_sums() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1))
    pooling = Pooling("avg", leaves([module]))
    assert not pooling.agrees(lambda features: module(features.values.mean(1)), 4)
    assert Pooling("avg", leaves([module[0]])).agrees(lambda features: module[0](features.values.mean(1)), 4)


@pytest.mark.parametrize(("grid", "coarser"), [((6, 6), (3, 2)), ((7, 5), (3, 2)), ((7, 7), (7, 7)), ((4, 9), (2, 4))])
def test_finer_stages_are_gathered_by_the_area_that_cells_share(
    grid: tuple[int, int], coarser: tuple[int, int]
) -> None:
    fine, many = drawn(2, grid[0] * grid[1], 3), (coarser[0] * grid[0], coarser[1] * grid[1])
    gathered = _gathered(fine, grid, coarser)
    repeated = fine.unflatten(1, grid)  # each cell cut into equal pieces, and pieces summed up
    repeated = repeated.repeat_interleave(coarser[0], 1).repeat_interleave(coarser[1], 2) / (coarser[0] * coarser[1])
    assert repeated.shape[1:3] == many
    expected = repeated.unflatten(1, (coarser[0], grid[0])).unflatten(3, (coarser[1], grid[1])).sum((2, 4))
    torch.testing.assert_close(gathered, expected.flatten(1, 2))


def test_stages_are_summed_into_the_coarsest_grid() -> None:
    encoder = registry.load("mini:cnn?layers=3", device="cpu", dtype="float32")
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    _, stages = encoder.module._outputs.intermediates(pixels, 3)
    grids = [tuple(stage.shape[2:]) for stage in stages]
    assert grids[0] > grids[-1]
    found = exact.factors(encoder, None, pixels)
    assert found.grid == min(grids)
    width = stages[0].shape[1]
    start = encoder.image_dim - sum(stage.shape[1] for stage in stages)
    first = stages[0].unflatten(2, (6, -1)).unflatten(4, (6, -1)).sum((3, 5)).flatten(2).transpose(1, 2)
    length = stages[0].sum((2, 3)).norm() * 4**0.5  # four unit rows side by side
    torch.testing.assert_close(found.parts[..., start : start + width], first / length, atol=1e-6, rtol=0)


def test_with_the_deviation_held_parts_differ_from_those_of_a_jacobian_that_moves_it() -> None:
    encoder = registry.load("mini:vit", device="cpu", dtype="float32")
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    held, moving = exact.factors(encoder, None, pixels), jacobian.factors(encoder, None, pixels, nodes=16)
    torch.testing.assert_close(held.vectors, moving.vectors, atol=1e-6, rtol=0)
    assert torch.corrcoef(torch.stack([held.parts.flatten(), moving.parts.flatten()]))[0, 1] < 0.999
