"""The benchmark's peer is the paper's recipe without the fault of its public code."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch


def test_the_bias_is_scaled_back_with_the_targets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from benchmarks._paper import descend, unscale

    generator = torch.Generator().manual_seed(0)
    x = 40 * torch.randn(500, 5, generator=generator) + 3
    y = x @ torch.randn(5, 3, generator=generator) / 100 + torch.tensor([0.5, -1, 2])
    last = next(islice(descend(x, y), 300, None))
    torch.testing.assert_close(x @ last.weight + last.bias, y, atol=1e-3, rtol=0)

    c1, c2 = torch.tensor(10.0), torch.tensor(0.5)
    weight, bias = unscale(torch.ones(5, 3), torch.ones(3), c1, c2)
    torch.testing.assert_close(c2 * (x @ weight + bias), c1 * x @ torch.ones(5, 3) + 1, atol=1e-3, rtol=0)
