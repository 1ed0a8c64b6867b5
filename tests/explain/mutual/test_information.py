"""Mutual information of two memberships: against its definition, planted sharing, and the public code's number."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from t2c_search.explain.mutual.information import entropy_sum, jaccard, mutual_information, removal_curve


def memberships(shared: int, seen: int, said: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each descriptor is on either side."""
    at = np.arange(number)
    return at < seen, (at >= seen - shared) & (at < seen - shared + said)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_mutual_information_of_the_memberships_themselves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number = int(rng.integers(4, 300))
    seen, said = (int(rng.integers(1, number + 1)) for _ in range(2))
    shared = int(rng.integers(max(0, seen + said - number), min(seen, said) + 1))
    own, other = memberships(shared, seen, said, number)
    assert (own & other).sum() == shared and other.sum() == said
    found = mutual_information(shared, seen, said, number)
    assert found == pytest.approx(mutual_info_score(own, other), abs=1e-12)
    assert jaccard(shared, seen, said) == pytest.approx((own & other).sum() / (own | other).sum())


@pytest.mark.parametrize(("seen", "said", "number"), [(50, 50, 1700), (15, 15, 4229), (31, 20, 158), (7, 60, 120)])
def test_planted_sharing_raises_it_strictly_from_chance_on(seen: int, said: int, number: int) -> None:
    shared = np.arange(min(seen, said) + 1)
    found = mutual_information(shared, seen, said, number)
    chance = seen * said / number
    assert (np.diff(found[shared >= chance]) > 0).all()
    assert (np.diff(found[shared <= chance]) < 0).all()
    assert mutual_information(np.array(12), 30, 40, 100) == pytest.approx(0, abs=1e-12)  # 12 = 30 * 40 / 100


def test_the_papers_number_falls_as_more_is_shared_when_its_sign_is_mended() -> None:
    """The public code adds the entropy of a joint table that has 1 / k where descriptors are shared (its equation 9)."""

    def of_the_public_table(shared: int, sign: float) -> float:
        table = np.zeros((15, 15))
        table[np.arange(shared), np.arange(shared)] = 1 / shared
        joint = -(table[table > 0] * np.log(table[table > 0])).sum()
        return log(15) + log(15) + sign * float(joint)

    for shared in range(1, 16):
        assert entropy_sum(shared, 15, 15) == pytest.approx(of_the_public_table(shared, 1))
    mended = [of_the_public_table(shared, -1) for shared in range(1, 16)]
    assert (np.diff(mended) < 0).all()
    assert (round(mended[0], 2), round(mended[11], 2)) == (5.42, 2.93)
    assert (np.diff(mutual_information(np.arange(1, 16), 15, 15, 4229)) > 0).all()  # ours rises
    assert entropy_sum(0, 15, 15) == 0


def test_a_removal_curve_is_the_information_of_what_is_left() -> None:
    common = np.array([True, False, True, True, False])
    curve = removal_curve(common, 4, 60)
    assert len(curve) == 6
    for removed in range(6):
        left = common[removed:]
        assert curve[removed] == pytest.approx(float(mutual_information(left.sum(), len(left), 4, 60)))
    assert curve[-1] == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_removal_curve_has_more_below_it_the_longer_what_is_shared_stays(seed: int) -> None:
    common = np.random.default_rng(seed).permutation(np.arange(40) < 15)
    first, last = np.sort(common)[::-1], np.sort(common)
    areas = [removal_curve(each, 40, 1700).mean() for each in (first, common, last)]
    assert areas == sorted(areas) and len(set(areas)) == 3
    assert len({float(removal_curve(each, 40, 1700)[0]) for each in (first, common, last)}) == 1
    assert removal_curve(last, 40, 1700)[:25].min() > 0
