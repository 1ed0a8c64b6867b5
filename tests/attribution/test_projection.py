"""A projection whose norms are held is the aligner itself on the rows, and linear in their parts."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from t2c_search.alignment.aligner import Aligner, Transform
from t2c_search.attribution.projection import hold
from t2c_search.errors import AlignmentError
from tests.alignment.test_aligner import BACKBONE, CLIP, REPORT

KINDS: list[tuple[Transform, bool]] = [("identity", False), ("identity", True), ("unit", False), ("unit", True)]


def made(transform: Transform, on_axis: bool) -> Aligner:
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(12, 8, generator=generator) / 20
    bias = torch.randn(8, generator=generator) / 4
    return Aligner(BACKBONE, CLIP, transform, weight, bias, normalize(bias, dim=0) * on_axis, REPORT)


def rows(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize(("transform", "on_axis"), KINDS)
def test_parts_of_a_row_sum_to_its_aligned_vector(transform: Transform, on_axis: bool) -> None:
    aligner, parts = made(transform, on_axis), rows(4, 7, 12) / 7
    held = hold(parts.sum(1), aligner)
    assert torch.allclose(held.base + held.map(parts).sum(1), aligner(parts.sum(1)), atol=3e-7)


def test_without_an_aligner_the_length_is_held() -> None:
    parts = rows(4, 7, 12)
    held = hold(parts.sum(1), None)
    assert torch.allclose(held.base + held.map(parts).sum(1), normalize(parts.sum(1)), atol=3e-7)


@pytest.mark.parametrize(("transform", "on_axis"), KINDS)
def test_pull_is_the_transpose_of_map(transform: Transform, on_axis: bool) -> None:
    held = hold(rows(4, 12).double(), made(transform, on_axis))
    parts, cotangents = rows(4, 3, 12).double(), rows(4, 3, 8).double()
    assert torch.allclose((held.map(parts) * cotangents).sum(2), (parts * held.pull(cotangents)).sum(2), atol=1e-12)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(AlignmentError, match="takes rows of 12 numbers"):
        hold(rows(2, 9), made("identity", True))
