"""The cheapest way that an encoder allows is taken, others can be forced, and what is missing is said."""

from __future__ import annotations

import warnings

import pytest
import timm
import torch

from t2c_search.attribution.factors import Factors, warn_of_residual
from t2c_search.attribution.methods import METHODS, choose, place_factors
from t2c_search.encoders import registry
from t2c_search.encoders.adapters.timm import anatomy_of
from t2c_search.encoders.catalogue import BUILT_IN, ModelChoice
from t2c_search.errors import T2CWarning, UsageError


@pytest.mark.parametrize(
    ("encoder_id", "method"),
    [("mini", "analytic"), ("mini:cnn", "exact"), ("mini:vit", "exact"), ("mini:vit?layers=3", "exact")],
)
def test_auto_takes_the_cheapest_that_applies(encoder_id: str, method: str) -> None:
    encoder = registry.load(encoder_id, device="cpu", dtype="float32")
    assert choose(encoder) == method
    assert place_factors(encoder, None, torch.ones(1, 3, 96, 96)).method == method
    assert choose(encoder, "banzhaf") == "banzhaf"


SMALL = [choice for kind in BUILT_IN for choice in kind.choices if choice.parameters_m < 30 and choice.places]


@pytest.mark.parametrize("choice", SMALL, ids=lambda choice: choice.id)
def test_the_catalogue_says_which_way_a_model_is_taken_apart(choice: ModelChoice) -> None:
    kind, _, name = choice.id.partition(":")
    if kind != "timm":
        assert choose(registry.load(choice.id, device="cpu")) == choice.places
        return
    anatomy = anatomy_of(timm.create_model(name.partition(".")[0], num_classes=0))
    assert (anatomy.are_sums, anatomy.pooled is not None) == (choice.places == "exact", choice.places == "analytic")


def test_each_method_can_be_forced_where_it_applies() -> None:
    encoder = registry.load("mini:vit", device="cpu", dtype="float32")
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    assert place_factors(encoder, None, pixels, "jacobian").method == "jacobian"
    with pytest.raises(
        UsageError, match="method 'analytic' is not for 'mini:vit', which allows: exact, banzhaf, jacobian"
    ):
        place_factors(encoder, None, pixels, "analytic")
    with pytest.raises(UsageError, match=f"no method 'gradcam'; known methods: auto, {', '.join(METHODS)}"):
        place_factors(encoder, None, pixels, "gradcam")


def test_an_encoder_without_pixels_is_refused() -> None:
    class Lookup:
        id = "precomputed:vectors"

    with pytest.raises(
        UsageError, match="'precomputed:vectors' gives vectors without showing a model that sees pixels"
    ):
        choose(Lookup())  # type: ignore[arg-type]


def test_a_large_residual_is_warned_about_and_a_small_one_is_not() -> None:
    vectors = torch.eye(3)
    parts = vectors.unsqueeze(1) * torch.tensor([1.0, 0.96, 0.5]).view(3, 1, 1)
    found = Factors(vectors, torch.zeros(3, 3), parts, "analytic")
    assert found.unexplained.tolist() == pytest.approx([0, 0.04, 0.5], abs=1e-6)
    with pytest.warns(T2CWarning, match=r"the factors of 1 of 3 images leave up to 50% .*\(method analytic\)"):
        warn_of_residual(found, "images")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_residual(Factors(vectors[:2], torch.zeros(2, 3), parts[:2], "analytic"), "images")
