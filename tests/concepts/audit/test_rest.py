"""Neighbours, leaks, outliers and plain faults, each by an oracle or a planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.concepts.audit import neighbours, reading
from t2c_search.concepts.audit.findings import Finding, figures, ranked, robust_z
from t2c_search.concepts.audit.leaks import find_leaks
from t2c_search.concepts.audit.neighbours import NEAREST, find_neighbours
from t2c_search.concepts.audit.outliers import find_outliers
from t2c_search.concepts.audit.pictures import find_plain_faults
from t2c_search.concepts.audit.reading import MOST_VALUES, read_all
from t2c_search.errors import UsageError
from tests.concepts.audit.worlds import clusters, collection, point_id, unit


def looks(rng: np.random.Generator, count: int) -> list[dict[str, object]]:
    return [{"brightness": 0.5, "sharpness": 0.2, "entropy": 7.0, "print": rng.bytes(16).hex()} for _ in range(count)]


@pytest.mark.parametrize("held", [30_000, 0])
def test_neighbours_are_the_nearest_in_the_geometry(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HELD", held)
    monkeypatch.setattr(neighbours, "_BLOCK", 50)
    rng = np.random.default_rng(1)
    rows, _, _ = clusters(rng, [40] * 3)
    chosen = collection(rows, [{}] * len(rows))
    known = read_all(chosen)
    found = find_neighbours(chosen, known)
    order = [int(np.flatnonzero([point_id(at) == each for at in range(len(rows))])[0]) for each in known.ids]
    wide = rows[order].astype(np.float64)
    centred = wide - wide.mean(axis=0)
    covariance = centred.T @ centred / len(wide)
    shrunk = (len(wide) * covariance + wide.shape[1] * np.trace(covariance) / wide.shape[1] * np.eye(wide.shape[1])) / (
        len(wide) + wide.shape[1]
    )
    placed = unit(centred @ np.linalg.cholesky(np.linalg.inv(shrunk)))
    cosines = placed @ placed.T
    np.fill_diagonal(cosines, -2)
    expected = np.sort(cosines, axis=1)[:, ::-1][:, :NEAREST]
    if held:
        assert found.cosines == pytest.approx(expected, abs=1e-4)
    else:  # of those that are near in CLIP space
        assert np.isclose(found.cosines[:, 0], expected[:, 0], atol=1e-4).mean() > 0.8
    assert np.take_along_axis(cosines, found.places.astype(int), 1) == pytest.approx(found.cosines, abs=1e-4)


def test_a_collection_of_one_image_has_no_neighbour() -> None:
    rows, _, _ = clusters(np.random.default_rng(1), [1])
    chosen = collection(rows, [{}])
    known = read_all(chosen)
    near = find_neighbours(chosen, known)
    assert (near.places == -1).all()
    assert find_outliers(chosen, known, near) == find_leaks(known, near) == []


def leaking(printed: bool):
    """300 images in two splits, of which ten are in both, moved a little; ten more are twice in one of them."""
    rng = np.random.default_rng(2)
    rows, _, _ = clusters(rng, [75] * 4, spread=1.5)
    twice = unit(rows[:20] + 0.15 * unit(rng.normal(size=(20, rows.shape[1]))))
    seen = looks(rng, 300)
    again = [{**each, "print": each["print"][:-1] + "0"} for each in seen[:20]]
    split = ["train"] * 20 + [("train", "test")[at] for at in rng.integers(0, 2, 280)] + ["test"] * 10 + ["train"] * 10
    payloads = [{"split": value} for value in split]
    if printed:
        payloads = [{**payload, "look": each} for payload, each in zip(payloads, [*seen, *again], strict=True)]
    return collection(np.concatenate([rows, twice]), payloads, "split")


@pytest.mark.parametrize("printed", [True, False])
def test_the_same_picture_under_two_values_is_told_once(printed: bool) -> None:
    chosen = leaking(printed)
    known = read_all(chosen)
    found = find_leaks(known, find_neighbours(chosen, known))
    pairs = [{finding.id, finding.other} for finding in found]
    planted = [{point_id(at), point_id(300 + at)} for at in range(10)]
    assert all(pair in pairs for pair in planted)
    if printed:  # the cosine alone also takes others for alike
        assert len(pairs) == len(planted)
        assert {(finding.own, finding.suggested) for finding in found} <= {("train", "test"), ("test", "train")}


def test_unlike_prints_clear_a_pair_of_alike_vectors() -> None:
    chosen = leaking(True)
    rng = np.random.default_rng(3)
    other = [{"look": {**each}} for each in looks(rng, 10)]
    chosen.searcher.store.update_payload([point_id(300 + at) for at in range(10)], other)
    known = read_all(chosen)
    assert find_leaks(known, find_neighbours(chosen, known)) == []


@pytest.mark.parametrize("held", [30_000, 0])
def test_images_unlike_all_others_are_outliers(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HELD", held)
    rng = np.random.default_rng(4)
    plane = unit(rng.normal(size=(6, 24)))
    rows = unit(rng.normal(size=(400, 6)) @ plane + 0.02 * rng.normal(size=(400, 24)))
    rows[7], rows[13] = unit(rng.normal(size=24)), unit(rng.normal(size=24))
    chosen = collection(rows, [{}] * 400)
    known = read_all(chosen)
    found = find_outliers(chosen, known, find_neighbours(chosen, known))
    assert {finding.id for finding in found} == {point_id(7), point_id(13)}


def test_plain_faults_are_told_by_their_figures() -> None:
    rng = np.random.default_rng(5)
    rows, _, _ = clusters(rng, [40])
    seen = looks(rng, 40)
    seen[1]["brightness"], seen[2]["sharpness"] = 0.02, 0.01
    seen[3] |= {"entropy": 0.4, "sharpness": 0.0}
    payloads = [{"look": each, "width": 640, "height": 480} for each in seen]
    payloads[4] |= {"width": 64, "height": 48}
    payloads[5] |= {"width": 3200, "height": 100}
    del payloads[6]["look"]
    payloads[7] |= {"width": 480, "height": 640}
    found = find_plain_faults(read_all(collection(rows, payloads)))
    told = {(finding.kind, finding.id) for finding in found}
    kinds = ("dark", "blurred", "empty", "odd size", "odd size")
    assert told == {(kind, point_id(at)) for at, kind in enumerate(kinds, 1)}
    assert len(found) == 5


def test_a_field_must_have_values_to_compare() -> None:
    rows, _, _ = clusters(np.random.default_rng(6), [MOST_VALUES + 10])
    with pytest.raises(UsageError, match=f"more than {MOST_VALUES} values"):
        read_all(collection(rows, [{"name": str(at)} for at in range(len(rows))], "name"))
    with pytest.raises(UsageError, match="only the value 'one'"):
        read_all(collection(rows, [{"name": "one"}] * len(rows), "name"))
    with pytest.raises(UsageError, match="has no value"):
        read_all(collection(rows, [{}] * len(rows), "name"))
    several = read_all(collection(rows, [{"a": {"b": [1, 2] if at % 3 else at % 2}} for at in range(len(rows))], "a.b"))
    assert (set(several.names), several.several) == ({"0", "1"}, 340)


def test_a_robust_z_is_that_of_a_normal_sample_whatever_a_few_are() -> None:
    values = np.random.default_rng(7).normal(3, 2, 20_000)
    values[:800] = 1e6
    assert robust_z(values)[800:].std() == pytest.approx(1, abs=0.1)
    assert (robust_z(np.array([1.0, 1.0, 1.0, 2.0])) > 100).tolist() == [False, False, False, True]
    assert np.isnan(robust_z(np.array([np.nan, 1.0]))).tolist() == [True, False]


def test_findings_are_ranked_from_the_worst_on() -> None:
    found = ranked([Finding("dark", 0, score, each) for score, each in ((0.1, "a"), (0.9, "c"), (0.9, "b"))])
    assert [(finding.rank, finding.id) for finding in found] == [(1, "b"), (2, "c"), (3, "a")]
    assert figures(own_value=1 / 3) == {"own value": 0.3333}
