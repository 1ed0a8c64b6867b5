"""Which pairs are held out depends on their ids only."""

from __future__ import annotations

import pickle
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


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.permutations(range(5)),
    st.booleans(),
    st.sampled_from([3, 1000]),
)
def test_merged_splits_are_as_one(places: list[int], order: list[int], is_known: bool, most: int) -> None:
    """Every pair is added in one of five places, and the five are merged in some order."""
    generator = torch.Generator().manual_seed(len(places))
    ids = [f"photo-{i}" for i in range(len(places))]
    x, y = torch.randn(len(places), 3, generator=generator) + 100, torch.randn(len(places), 2, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "MAX_HELD_OUT", most)
        among = len(places) + 7 if is_known else None  # seven could not be read
        expected, expected_x, expected_y = split([(ids, x, y)])
        merged = PairSplit(among)
        for place in order:
            rows = [row for row, where in enumerate(places) if where == place]
            part = PairSplit(among)
            for row in rows:
                part.add([ids[row]], x[[row]], y[[row]])
            frozen = pickle.dumps(part)
            merged.merge(part)
            assert pickle.dumps(part) == frozen
        assert merged.count == len(places)
        moments, held_x, held_y = merged.finish()
    assert moments is not None
    assert expected is not None
    assert torch.equal(held_x, expected_x)
    assert torch.equal(held_y, expected_y)
    assert moments.count == expected.count
    for name in ("mean_x", "mean_y", "xx", "xy", "yy"):
        torch.testing.assert_close(getattr(moments, name), getattr(expected, name), rtol=1e-12, atol=1e-11)
