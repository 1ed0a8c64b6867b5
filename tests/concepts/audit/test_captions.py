"""Captions against their pictures: the score by an oracle, and exchanged ones found."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.concepts.audit import captions
from t2c_search.concepts.audit.captions import find_unfit_captions, score_captions
from tests.concepts.audit.worlds import DIM, collection, point_id, unit

PICTURES, EACH = 150, 4


class Captioned:
    """Pictures with captions near to them, some of which are near to every picture."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rows = unit(rng.normal(size=(PICTURES, DIM)) + 0.5)
        common = unit(rng.normal(size=DIM) + 1)
        pull = rng.random((PICTURES, EACH, 1)) * 0.8  # of a text that says little
        own = self.rows[:, None] + 0.7 * unit(rng.normal(size=(PICTURES, EACH, DIM))) + pull * common
        self.vectors = {
            f"{picture}-{which}": row for picture in range(PICTURES) for which, row in enumerate(unit(own)[picture])
        }
        self.told = [[f"{picture}-{which}" for which in range(EACH)] for picture in range(PICTURES)]

    def chosen(self):
        return collection(self.rows, [{"captions": told} for told in self.told], texts=self.vectors)


def oracle(world: Captioned) -> dict[str, float]:
    """CSLS of each picture, the mean over its captions, by its equation."""
    texts = np.array([world.vectors[text] for told in world.told for text in told])
    of = np.repeat(np.arange(PICTURES), EACH)
    cosines = (world.rows.astype(np.float64) @ texts.T.astype(np.float64)).astype(np.float64)
    found = {}
    for picture in range(PICTURES):
        others = np.sort(cosines[picture, of != picture])[-10:].mean()
        fits = []
        for text in np.flatnonzero(of == picture):
            back = np.sort(np.delete(cosines[:, text], picture))[-10:].mean()
            fits.append(2 * cosines[picture, text] - others - back)
        found[point_id(picture)] = float(np.mean(fits))
    return found


def test_the_score_is_that_of_the_equation() -> None:
    world = Captioned(1)
    scores = score_captions(world.chosen())
    expected = oracle(world)
    assert len(scores.ids) == PICTURES
    for picture, fit in zip(scores.ids, scores.fit, strict=True):
        assert fit == pytest.approx(expected[picture], abs=1e-5)


@pytest.mark.parametrize("seed", [2, 3])
def test_exchanged_captions_are_the_worst(seed: int) -> None:
    world = Captioned(seed)
    wrong = [5, 40, 77, 120]
    for one, other in zip(wrong, [40, 77, 120, 5], strict=True):
        world.told[one] = [f"{other}-{which}" for which in range(EACH)]
    found = [finding for finding in find_unfit_captions(world.chosen()) if finding.kind == "caption"]
    worst = sorted(found, key=lambda each: -each.score)[:4]
    assert {finding.id for finding in worst} == {point_id(picture) for picture in wrong}
    pictures = {point_id(picture): picture for picture in wrong}
    for finding in worst:
        assert finding.own in world.told[pictures[finding.id]]
        assert finding.suggested.startswith(f"{pictures[finding.id]}-")
    assert len(found) < 12


def test_one_wrong_caption_among_several_is_told_with_its_words() -> None:
    world = Captioned(4)
    world.told[9][2], world.told[30][0] = "30-0", "9-2"
    found = [finding for finding in find_unfit_captions(world.chosen()) if finding.kind == "stray caption"]
    worst = sorted(found, key=lambda each: -each.score)[:2]
    assert {(finding.id, finding.own) for finding in worst} == {(point_id(9), "30-0"), (point_id(30), "9-2")}


def test_few_pictures_and_odd_captions_are_passed_over() -> None:
    world = Captioned(5)
    few = collection(world.rows[:8], [{"captions": told} for told in world.told[:8]], texts=world.vectors)
    assert find_unfit_captions(few) == []
    odd = [{"captions": [3, "", *told]} if at % 3 else {} for at, told in enumerate(world.told)]
    assert len(score_captions(collection(world.rows, odd, texts=world.vectors)).ids) == PICTURES - 50


def test_a_reference_of_some_pictures_ranks_nearly_as_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Captioned(6).chosen()
    whole = score_captions(chosen)
    monkeypatch.setattr(captions, "REFERENCES", 1)  # the first batch of the store
    assert score_captions(chosen).fit == whole.fit
