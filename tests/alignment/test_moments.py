"""Moments against plain numpy on all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2c_search.alignment.moments import PairedMoments


def rows(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=generator) * 3 + 7
    return x, x[:, :3] - 2 * torch.randn(n, 3, generator=generator)


def of(*batches: tuple[torch.Tensor, torch.Tensor]) -> PairedMoments:
    moments = PairedMoments(5, 3)
    for x, y in batches:
        moments.add(x, y)
    return moments


def assert_same(ours: PairedMoments, theirs: PairedMoments) -> None:
    assert ours.count == theirs.count
    for part in ("mean_x", "mean_y", "xx", "xy", "yy"):
        torch.testing.assert_close(getattr(ours, part), getattr(theirs, part), rtol=1e-11, atol=1e-9)


def test_batches_give_the_covariances_of_all_rows() -> None:
    x, y = rows(200)
    moments = of(*zip(x.split(37), y.split(37), strict=True))
    products = np.cov(np.hstack([x.numpy(), y.numpy()]).astype(np.float64), rowvar=False, ddof=0) * 200
    np.testing.assert_allclose(moments.xx, products[:5, :5], rtol=1e-10)
    np.testing.assert_allclose(moments.xy, products[:5, 5:], rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(moments.yy, products[5:, 5:], rtol=1e-10)
    np.testing.assert_allclose(moments.mean_x, x.numpy().astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.mean_y, y.numpy().astype(np.float64).mean(0), rtol=1e-12)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 5))
def test_merging_equals_one_pass(sizes: list[int], cut: int) -> None:
    x, y = rows(sum(sizes))
    batches = list(zip(x.split(sizes), y.split(sizes), strict=True))
    merged = of(*batches[:cut])
    merged.merge(of(*batches[cut:]))
    assert_same(merged, of((x, y)))


def test_a_mean_a_million_times_the_spread_costs_no_digits() -> None:
    x, y = (part.double() for part in rows(300))
    far = of(*zip((x + 1e6).split(50), (y - 1e6).split(50), strict=True))
    near = of((x, y))
    torch.testing.assert_close(far.xx, near.xx, rtol=1e-7, atol=0)
    torch.testing.assert_close(far.xy, near.xy, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_moments() -> None:
    x, y = rows(100)
    on_gpu = PairedMoments(5, 3, "cuda")
    on_gpu.add(x.cuda(), y.cuda())
    there_and_back = PairedMoments(5, 3)
    there_and_back.merge(on_gpu)
    assert_same(there_and_back, of((x, y)))
