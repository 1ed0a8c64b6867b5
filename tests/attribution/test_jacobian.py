"""Jacobians at any layer, and along a few directions."""

from __future__ import annotations

import pytest
import torch

from t2c_search.attribution import exact, jacobian
from t2c_search.attribution.projection import hold
from t2c_search.encoders import registry
from t2c_search.errors import UsageError
from tests.attribution.encoders import ATTENTION, aligner_of, noise, wrap
from tests.encoders import tiny


@pytest.mark.parametrize("layer", ["layer2", "layer4"])
def test_a_layer_of_a_convolutional_net_has_the_grid_of_its_map(layer: str) -> None:
    encoder = wrap(ATTENTION["the mean asks"]())
    pixels = noise(encoder)
    found = jacobian.factors(encoder, None, pixels, 16, getattr(encoder.module, layer))
    assert found.grid == {"layer2": (16, 16), "layer4": (4, 4)}[layer]
    assert found.unexplained.max() < 0.3  # ReLUs have kinks


def test_an_earlier_block_accounts_for_the_same_vectors() -> None:
    encoder = wrap(ATTENTION["registers, layer scale, no bias"]())
    pixels, aligner = noise(encoder), aligner_of(encoder.image_dim)
    first, last = (jacobian.factors(encoder, aligner, pixels, 48, encoder.blocks[at]) for at in (0, 1))
    assert max(first.residual.norm(), last.residual.norm()) < 1e-4
    torch.testing.assert_close(first.vectors, last.vectors)
    assert (first.parts - last.parts).norm() > 0.01
    # Class and register tokens come into the first block as they do into the reference's: places account for all.
    reference = hold(encoder.embed(pixels), aligner)
    blank = reference.base + reference.map(encoder.embed(torch.zeros_like(pixels)))
    torch.testing.assert_close(first.base, blank, atol=1e-9, rtol=0)


def test_along_a_texts_direction_is_the_factors_dot_product(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = wrap(ATTENTION["class token"]())
    pixels, aligner = noise(encoder), aligner_of(encoder.image_dim)
    whole = jacobian.factors(encoder, aligner, pixels)
    directions = torch.randn(3, whole.vectors.shape[1], generator=torch.Generator().manual_seed(1)).double()
    cut = jacobian.cut_at(encoder, pixels)
    monkeypatch.setattr(jacobian, "_AT_ONCE", 1)  # a direction at a time
    along = jacobian.along(cut, hold(cut.read(cut.values[:-1]), aligner), directions)
    torch.testing.assert_close(along[:, -16:], whole.parts @ directions.T, atol=1e-12, rtol=0)


def test_where_the_head_is_linear_it_is_the_exact_sum_beyond_the_references(tmp_path) -> None:
    encoder = registry.load(tiny.save_timm(tmp_path / "model", "test_resnet", seed=1), device="cpu", dtype="float32")
    encoder.module.double()
    pixels, aligner = noise(encoder), aligner_of(encoder.image_dim)
    summed = exact.factors(encoder, aligner, pixels)
    held = hold(encoder.embed(pixels), aligner)
    blank = held.map(encoder.shares(torch.zeros_like(pixels)).parts)
    found = jacobian.factors(encoder, aligner, pixels, nodes=1)
    torch.testing.assert_close(found.parts, summed.parts - blank, atol=1e-10, rtol=0)
    torch.testing.assert_close(found.base, summed.base + blank.sum(1), atol=1e-10, rtol=0)


def test_layers_without_places_are_refused() -> None:
    encoder = wrap(ATTENTION["the mean asks"]())
    with pytest.raises(UsageError, match=r"the layer Linear does not take tokens \(n, tokens, d\) or a map"):
        jacobian.factors(encoder, None, noise(encoder), layer=encoder.module.attnpool.c_proj)
