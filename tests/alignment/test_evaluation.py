"""Figures against slow definitions of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from t2c_search.alignment.evaluation import centred, concept_fidelity, mean_cosine, r2_per_dimension, recall


@pytest.fixture
def arrays() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    true = normalize(torch.randn(40, 6, generator=generator) + 1)
    rows = normalize(true + 0.4 * torch.randn(40, 6, generator=generator))
    return rows, true, normalize(torch.randn(9, 6, generator=generator))


def test_concept_fidelity_is_the_mean_of_pearson_correlations(arrays: tuple[torch.Tensor, ...]) -> None:
    rows, true, concepts = (part.numpy() for part in arrays)
    slow = np.mean([np.corrcoef(rows @ text, true @ text)[0, 1] for text in concepts])
    assert concept_fidelity(*arrays) == pytest.approx(slow, abs=1e-5)


def test_concept_fidelity_is_one_for_the_true_rows_and_zero_for_a_constant(arrays: tuple[torch.Tensor, ...]) -> None:
    _, true, concepts = arrays
    assert concept_fidelity(true, true, concepts) == pytest.approx(1, abs=1e-5)
    assert concept_fidelity(true[:1].expand(40, -1), true, concepts) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_recall_counts_rows_among_their_k_nearest(arrays: tuple[torch.Tensor, ...], k: int) -> None:
    rows, true, _ = (part.numpy() for part in arrays)
    found = [i in np.argsort(-(true @ rows[i]))[:k] for i in range(40)]
    assert 0 < recall(*arrays[:2], k) == pytest.approx(np.mean(found))


def test_r2_judges_each_dimension_by_its_own_variance() -> None:
    true = torch.tensor([[0.0, 0.0, 5.0], [1.0, 100.0, 5.0], [2.0, 200.0, 5.0]])
    half = torch.stack([true[:, 0], true[:, 1].mean().expand(3), true[:, 2] + 1], 1)
    assert r2_per_dimension(half, true) == pytest.approx(0.5)  # 1 and 0; the column that never varies does not count


def test_centring_removes_the_mean_that_hides_the_match(arrays: tuple[torch.Tensor, ...]) -> None:
    rows, true, _ = arrays
    shifted = normalize(rows + 20 * rows[0])
    assert recall(centred(shifted), centred(true), 1) > recall(shifted, true, 1)
    assert mean_cosine(true, true) == pytest.approx(1, abs=1e-6)
