"""A collection of drawn scenes, classified by the facade and the command: what is found, written back, drawn and refused."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.concepts.zero_shot.classes import read_classes
from t2c_search.concepts.zero_shot.classify import Choices, Directions, classify
from t2c_search.concepts.zero_shot.likelihood import FOLDS, fit_rule
from t2c_search.demo.words import BACKGROUNDS
from t2c_search.demo.world import draw
from t2c_search.errors import UsageError
from t2c_search.types import CLIP, Points
from tests.cli.conftest import Outcome
from tests.cli.conftest import t2c as t2c  # a fixture

SCENES = 60
GROUNDS = BACKGROUNDS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with their background beside them: as ``ground`` of all, and as ``hand`` of the first half."""
    root = tmp_path_factory.mktemp("scenes")
    for number, scene in enumerate(draw(21, SCENES)):
        Image.fromarray(scene.image).save(root / f"{number:02d}.png")
        known = {"ground": scene.truth.background} | ({"hand": scene.truth.background} if number < SCENES // 2 else {})
        (root / f"{number:02d}.json").write_text(json.dumps(known))
    with open_collection("scenes", str(root / "s.t2c"), clip="mini", device="cpu") as scenes:
        assert scenes.index([root]).indexed == SCENES
    return root / "s.t2c"


@pytest.fixture
def scenes(store: Path) -> Iterator[Collection]:
    with open_collection("scenes", str(store), device="cpu") as collection:
        yield collection


def test_classes_are_those_of_plain_numpy(scenes: Collection) -> None:
    found = scenes.classify(GROUNDS, against="ground")
    (points,) = scenes.store.scan(vectors=(CLIP,))
    rows = points.vectors[CLIP].astype(np.float64)
    texts = np.array(
        [np.mean([scenes.searcher.texts.vector(each) for each in wordings], 0) for wordings in GROUNDS.values()]
    )
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    scores = (rows - rows.mean(0)) @ texts.T
    ordered = np.sort(scores, axis=1)
    assert found.ids == points.ids
    assert found.labels == [list(GROUNDS)[at] for at in scores.argmax(1)]
    np.testing.assert_allclose(found.assigned.scores, ordered[:, -1], atol=1e-5)
    np.testing.assert_allclose(found.assigned.margins, ordered[:, -1] - ordered[:, -2], atol=1e-5)
    assert found.judged is not None and found.judged.reliability is None and found.assigned.confidences is None
    truth = [payload["ground"] for payload in points.payloads]
    assert (
        found.judged.accuracy == np.mean([one == other for one, other in zip(found.labels, truth, strict=True)]) > 0.9
    )
    uncentred = scenes.classify(GROUNDS, centre=False)
    np.testing.assert_allclose(uncentred.assigned.scores, (rows @ texts.T).max(1), atol=1e-5)


def test_results_are_tables_and_plain_values(scenes: Collection) -> None:
    margin = float(np.median(scenes.classify(GROUNDS, calibrate="hand").assigned.margins))
    found = scenes.classify(GROUNDS, calibrate="hand", abstain=margin)
    told = json.loads(json.dumps(found.to_json()))
    table = found.to_arrow()
    assert table.column_names == ["id", "class", "score", "margin", "confidence"]
    assert table["class"].to_pylist() == told["labels"]["class"]
    assert found.to_pandas()["class"].dropna().tolist() == [name for name in found.labels if name is not None]
    assert told["abstained"] == found.counts()[None] == table["class"].null_count > 0
    assert sum(each["images"] for each in told["classes"]) + told["abstained"] == told["images"] == len(found) == SCENES
    assert found.judged is not None and found.judged.images == SCENES // 2 == told["judged"]["images"]
    assert found.judged.to_arrow().num_rows == len(GROUNDS)
    assert told["fitted"]["images"] == SCENES // 2


def test_no_images_own_label_judges_it() -> None:
    """Against a loop over the folds, with labels at random, so that a fit that had seen them would look better than it is."""
    rng = np.random.default_rng(0)
    names = tuple(f"class {number}" for number in range(12))
    rows, truth = rng.normal(size=(60, 12)).astype(np.float32), rng.integers(0, 12, 60)
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(60)]

    def read(*, payload: bool | tuple[str, ...]) -> Iterator[Points]:
        assert payload == ("kind",)
        for part in (slice(0, 25), slice(25, 60)):
            yield Points(ids[part], [{"kind": names[at]} for at in truth[part]], {CLIP: rows[part]})

    directions = Directions(read_classes(names), np.eye(12, dtype=np.float32), np.zeros(12))
    judged = classify(read, directions, Choices(calibrate="kind")).judged
    folds = np.array([uuid.UUID(each).int & (2**62 - 1) for each in ids], np.uint64) % FOLDS
    expected = np.zeros((12, 13), int)
    for at, fold in enumerate(folds):
        others = np.argsort([uuid.UUID(each).int & (2**62 - 1) for each in ids])
        others = others[folds[others] != fold]
        given = fit_rule(rows[others], truth[others].astype(np.int32)).assign(rows[at : at + 1]).classes[0]
        expected[truth[at], given] += 1
    assert judged is not None and judged.reliability is not None
    np.testing.assert_array_equal(judged.matrix, expected)
    seen = fit_rule(rows, truth.astype(np.int32)).assign(rows).classes
    assert (seen == truth).mean() > judged.accuracy


def test_classes_written_back_filter_and_go_where_there_is_none(scenes: Collection) -> None:
    before = scenes.classify(GROUNDS)
    assert "derived.place" not in scenes.searcher.known.fields  # nothing is written unless asked for
    found = scenes.classify(GROUNDS, write="place")
    for name, number in before.counts().items():
        if name is not None:
            assert scenes.count(f'derived.place = "{name}"').count == number
    assert scenes.count('derived.place = "snow" AND ground = "snow"').count > 0
    sure = scenes.classify(
        GROUNDS, where="derived.place exists", abstain=float(np.median(found.assigned.margins)), write="place"
    )
    assert 0 < sure.counts()[None] < SCENES
    assert scenes.count("derived.place exists").count == SCENES - (sure.counts()[None] or 0)
    assert len(scenes.classify(GROUNDS, '"on snow" >= 1sd')) == scenes.count('"on snow" >= 1sd').count
    assert len(scenes.classify(GROUNDS, where="width > 5000", balance=True)) == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"against": "grund"}, "no payload field grund; did you mean ground"),
        ({"against": "path"}, "0 images have one of the classes in path, 1 are needed"),
        ({"calibrate": "ground", "balance": True}, "choose one"),
        ({"priors": True}, "need labels"),
        ({"abstain": -1.0}, "expected a margin"),
        ({"write": "a.b"}, "names no field"),
    ],
)
def test_what_cannot_be_done_is_told(scenes: Collection, given: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        scenes.classify("grass, sky", **given)  # type: ignore[arg-type]


def test_the_command(t2c: Callable[..., Outcome], store: Path, tmp_path: Path) -> None:
    asked = ("classify", "-s", store, "-c", "scenes", "--classes", ",".join(GROUNDS))
    shown = t2c(*asked, "--calibrate", "ground", "--priors", "-o", tmp_path / "grounds.png")
    assert shown.code == 0, shown.err
    assert "estimated share" in shown.out and "held out" in shown.out and "right of 60 images" in shown.out
    with Image.open(tmp_path / "grounds.png") as picture:
        assert min(picture.size) > 400
    assert t2c(*asked, "-o", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert (
        "data:image/svg+xml" in page
        and "How right the classes are is not known" in page
        and page.count("<li>") == SCENES
    )
    told = t2c(*asked, "--json", "-o", tmp_path / "rows.csv").json
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == told["labels"]["class"]
    assert all(Path(row["path"]).is_file() for row in rows)
    assert t2c(*asked, "-o", tmp_path / "rows.txt").err.startswith("t2c: classes cannot be written to")
    refused = t2c("classify", "-s", store, "-c", "scenes", "--classes", "grass")
    assert refused.code and "at least two names" in refused.err
