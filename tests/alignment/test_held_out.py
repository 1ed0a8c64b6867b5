"""Which pairs are held out depends on their ids only."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2c_search.alignment import held_out
from t2c_search.alignment.held_out import PairSplit
from t2c_search.alignment.moments import PairedMoments


def batches(order: list[int], size: int) -> list[tuple[list[str], torch.Tensor, torch.Tensor]]:
    parts = [order[i : i + size] for i in range(0, len(order), size)]
    return [
        ([f"photo-{i}" for i in part], torch.tensor(part)[:, None] * 1.0, -torch.tensor(part)[:, None] * 1.0)
        for part in parts
    ]


def split(
    batches: list[tuple[list[str], torch.Tensor, torch.Tensor]], among: int | None = None
) -> tuple[PairedMoments | None, torch.Tensor, torch.Tensor]:
    pairs = PairSplit(among)
    for batch in batches:
        pairs.add(*batch)
    return pairs.finish()


@given(st.integers(1, 80), st.integers(1, 30), st.randoms(use_true_random=False), st.sampled_from([5, 1000]))
def test_order_and_batches_do_not_matter(n: int, size: int, dice: random.Random, most: int) -> None:
    order = list(range(n))
    dice.shuffle(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "MAX_HELD_OUT", most)
        shuffled, x, y = split(batches(order, size))
        straight, expected, _ = split(batches(list(range(n)), n))
    assert shuffled is not None
    assert straight is not None
    assert x.tolist() == expected.tolist() == (-y).tolist()
    assert len(x) == min(most, round(n / 5))
    assert shuffled.count == straight.count == n - len(x)
    fitted = set(range(n)) - {int(i) for i in x}
    assert float(shuffled.mean_x * shuffled.count) == pytest.approx(sum(fitted))
    torch.testing.assert_close(shuffled.xx, straight.xx)


def test_the_choice_looks_random() -> None:
    _, x, _ = split(batches(list(range(1000)), 100))
    assert 400 < float(x.mean()) < 600


def test_no_pairs() -> None:
    moments, x, y = split([])
    assert moments is None
    assert len(x) == len(y) == 0
