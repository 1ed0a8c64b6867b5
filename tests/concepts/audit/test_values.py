"""Values that the pictures contradict: planted ones found, by witnesses who have not seen the image with its value."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.concepts.audit import reading, values
from t2c_search.concepts.audit.findings import Finding
from t2c_search.concepts.audit.neighbours import find_neighbours
from t2c_search.concepts.audit.reading import read_all
from t2c_search.concepts.audit.values import Witnesses, find_contradicted, fit_weights, log_softmax
from tests.concepts.audit.worlds import clusters, collection, point_id, unit

KINDS = ("cat", "dog", "car", "ship")


def labelled(seed: int, wrong: int = 0, names: bool = True):
    """A collection of four kinds, with so many wrong labels: the first images', each the next kind's."""
    rng = np.random.default_rng(seed)
    rows, of, centres = clusters(rng, [60, 60, 60, 60])
    bad = rng.choice(len(of), wrong, replace=False)
    labels = of.copy()
    labels[bad] = (of[bad] + 1) % len(KINDS)
    texts = {name: unit(centre + 0.4) for name, centre in zip(KINDS, centres, strict=True)} if names else {}
    chosen = collection(rows, [{"label": KINDS[label]} for label in labels], "label", texts)
    return chosen, {point_id(int(at)) for at in bad}, {point_id(at): KINDS[kind] for at, kind in enumerate(of)}


def look_for(chosen) -> tuple[list[Finding], list[str]]:
    known = read_all(chosen)
    return find_contradicted(chosen, known, find_neighbours(chosen, known))


@pytest.mark.parametrize("held", [30_000, 0])
def test_wrong_labels_are_found_with_the_right_ones(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HELD", held)  # 0: neighbours by the store's index
    chosen, bad, truth = labelled(1, wrong=12)
    found, notes = look_for(chosen)
    contradicted = [finding for finding in found if finding.kind == "value"]
    assert {finding.id for finding in contradicted} >= bad
    assert len(contradicted) <= len(bad) + 4
    for finding in contradicted:
        if finding.id in bad:
            assert finding.suggested == truth[finding.id]
            assert finding.score == pytest.approx(1 - finding.figures["own"], abs=1e-3)
    assert notes == []


def test_labels_that_pictures_know_nothing_of_contradict_none() -> None:
    rng = np.random.default_rng(2)
    rows, _, _ = clusters(rng, [200])
    texts = {name: unit(rng.normal(size=rows.shape[1])) for name in KINDS}
    found, _ = look_for(collection(rows, [{"label": KINDS[at]} for at in rng.integers(0, 4, 200)], "label", texts))
    assert len([finding for finding in found if finding.kind == "value"]) <= 4


def test_images_are_judged_by_a_probe_that_has_not_seen_them() -> None:
    """A probe that has would know random labels by heart: there are more dimensions than it needs for that."""
    rng = np.random.default_rng(3)
    rows = unit(rng.normal(size=(60, 200)))
    labels = rng.integers(0, 2, 60)
    chosen = collection(rows, [{"label": KINDS[label]} for label in labels], "label")
    known = read_all(chosen)
    witnesses = Witnesses(chosen, known, find_neighbours(chosen, known))
    witnesses.fit()
    codes = witnesses.codes[[known.ids.index(each) for each in known.ids]]
    assert abs((witnesses.held_out.argmax(axis=1) == codes).mean() - 0.5) < 0.2


def test_values_of_one_kind_of_picture_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(4)
    rows, of, _ = clusters(rng, [120, 60, 60])
    names = np.array(["couch", "cat", "ship"])[of]
    names[:120:2] = "sofa"
    found, notes = look_for(collection(rows, [{"label": str(name)} for name in names], "label"))
    pairs = [finding for finding in found if finding.kind == "alike"]
    assert [{finding.own, finding.suggested} for finding in pairs] == [{"couch", "sofa"}]
    assert pairs[0].score >= values.MUTUAL
    assert any(note.startswith("The values' names had no say") for note in notes)


def test_values_of_few_images_are_left_out_and_told() -> None:
    chosen, _, _ = labelled(5, names=False)
    chosen.searcher.store.update_payload([point_id(at) for at in range(4)], [{"label": "rare"}] * 4)
    found, notes = look_for(chosen)
    assert all("rare" not in (finding.own, finding.suggested) for finding in found)
    assert any(note.startswith("1 values of label have fewer than 5 images") for note in notes)


def test_images_beyond_those_fitted_on_are_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "FITTED", 150)
    chosen, bad, _ = labelled(6, wrong=10)
    found, _ = look_for(chosen)
    assert {finding.id for finding in found if finding.kind == "value"} >= bad


def test_weights_are_the_likeliest_and_a_witness_who_knows_nothing_has_no_say() -> None:
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 3, 4000)
    knows = rng.normal(size=(4000, 3))
    knows[np.arange(4000), codes] += 2  # log-odds of 2 for the right one: the likeliest weight is 2
    weights, bias = fit_weights((knows, rng.normal(size=(4000, 3))), codes)
    assert weights == pytest.approx([2, 0], abs=0.15)
    assert np.ptp(bias) < 0.3
    p = log_softmax(np.stack((knows,), -1) @ weights[:1] + bias)
    for change in (-0.2, 0.2):
        q = log_softmax(knows * (weights[0] + change) + bias)
        assert p[np.arange(4000), codes].mean() > q[np.arange(4000), codes].mean()
