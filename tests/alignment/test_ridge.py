"""Ridge solutions from moments against the same regressions solved row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from t2c_search.alignment.moments import PairedMoments
from t2c_search.alignment.ridge import RidgeSpectrum


def pairs(n: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 3, d) + 2
    y = x @ torch.randn(d, 4, generator=generator, dtype=torch.float64)
    return x, y + torch.randn(n, 4, generator=generator, dtype=torch.float64) * torch.tensor([0.1, 1, 5, 20]) - 3


def spectrum(x: torch.Tensor, y: torch.Tensor) -> RidgeSpectrum:
    moments = PairedMoments(x.shape[1], y.shape[1])
    moments.add(x, y)
    return RidgeSpectrum(moments)


def unit_penalty(x: torch.Tensor) -> float:
    centred = x - x.mean(0)
    return float(centred.square().sum() / min(x.shape[1], len(x) - 1))


@pytest.mark.parametrize(("n", "d"), [(60, 12), (15, 40)], ids=["many pairs", "fewer pairs than dimensions"])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 30.0])
def test_it_solves_the_penalised_least_squares(n: int, d: int, strength: float) -> None:
    x, y = pairs(n, d)
    weight, bias = spectrum(x, y).affine(strength, 0)
    centred = (x - x.mean(0)).numpy()
    augmented = np.vstack([centred, np.sqrt(strength * unit_penalty(x)) * np.eye(d)])
    target = np.vstack([(y - y.mean(0)).numpy(), np.zeros((d, 4))])
    expected = np.linalg.lstsq(augmented, target, rcond=None)[0]
    np.testing.assert_allclose(weight, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(bias, y.mean(0).numpy() - x.mean(0).numpy() @ expected, rtol=1e-7)


@pytest.mark.parametrize("restoration", [0.0, 0.5, 1.0])
def test_predictions_of_projected_rows_are_those_of_the_affine_map(restoration: float) -> None:
    x, y = pairs(50, 8)
    solved = spectrum(x, y)
    weight, bias = solved.affine(0.5, restoration)
    torch.testing.assert_close(solved.predict(solved.project(x), 0.5, restoration), x @ weight + bias)


def test_full_restoration_returns_the_variance_along_every_principal_direction() -> None:
    x, y = pairs(200, 8)
    variances, directions = torch.linalg.eigh(torch.cov(y.T))
    solved = spectrum(x, y)

    def along(restoration: float) -> torch.Tensor:
        return (solved.predict(solved.project(x), 3.0, restoration) @ directions).var(0)

    assert (along(0) < 0.9 * variances).all()
    torch.testing.assert_close(along(1), variances)
    torch.testing.assert_close(along(0.5), (along(0) * variances).sqrt())


def test_scaling_the_features_scales_the_weight_back_and_leaves_the_bias() -> None:
    """The paper's code returns another bias after rescaling (RMSE 20 in a simulation): predictions must not change."""
    x, y = pairs(80, 6)
    weight, bias = spectrum(x, y).affine(0.1, 0.5)
    scaled_weight, scaled_bias = spectrum(1000 * x, y).affine(0.1, 0.5)
    torch.testing.assert_close(scaled_weight * 1000, weight)
    torch.testing.assert_close(scaled_bias, bias)


def test_scaling_the_targets_scales_weight_and_bias_alike() -> None:
    x, y = pairs(80, 6)
    weight, bias = spectrum(x, y).affine(0.1, 0.5)
    scaled_weight, scaled_bias = spectrum(x, 7 * y).affine(0.1, 0.5)
    torch.testing.assert_close(scaled_weight, 7 * weight)
    torch.testing.assert_close(scaled_bias, 7 * bias)


@pytest.mark.parametrize("restoration", [0.0, 1.0])
def test_pooled_r2_is_one_minus_error_over_the_variance_of_all_numbers(restoration: float) -> None:
    x, y = pairs(80, 6)
    y = y + torch.tensor([0, 50, 100, 200])
    solved = spectrum(x, y)
    predicted = solved.predict(solved.project(x), 0.5, restoration)
    expected = 1 - (predicted - y).square().mean() / y.var(correction=0)
    assert solved.pooled_r2(0.5, restoration) == pytest.approx(float(expected))


def test_a_map_that_says_nothing_flatters_itself_by_pooled_r2() -> None:
    x, y = pairs(80, 6)
    assert spectrum(x, y + torch.tensor([0, 500, 1000, 2000])).pooled_r2(1e9, 0) > 0.9


def test_constant_features_predict_the_mean() -> None:
    _, y = pairs(30, 6)
    weight, bias = spectrum(torch.ones(30, 6), y).affine(1.0, 1.0)
    assert not weight.any()
    torch.testing.assert_close(bias, y.mean(0))
