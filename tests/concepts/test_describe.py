"""Vectors in words: the optimum that scikit-learn finds too, the truth of drawn scenes, and what the command says."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import Lasso
from typer.testing import CliRunner

import t2c_search as t2c
from t2c_search.alignment.aligner import Aligner
from t2c_search.cli import app
from t2c_search.concepts.describe.sparse import SparseWords, unit
from t2c_search.concepts.describe.subjects import directions
from t2c_search.demo.words import SHAPES
from t2c_search.demo.world import draw
from t2c_search.encoders import mini
from t2c_search.errors import UsageError
from t2c_search.state.aligner import read_aligner


def space(seed, concepts, dim):
    """Concepts that lie in clusters, off the origin, and rows."""
    rng = np.random.default_rng(seed)
    clusters = rng.normal(size=(10, dim))
    rows = rng.normal(size=(concepts, dim)) + 1.5 * clusters[rng.integers(0, 10, concepts)] + 2
    return unit(rows), rng.normal(size=(30, dim))


def lasso(concepts, row, words):
    """The first solution along the path that has so many words, by another program, in double precision."""
    for step in range(1, 14):
        penalty = 0.8**step * 2 * (concepts @ row).max()
        model = Lasso(penalty / (2 * len(row)), positive=True, fit_intercept=False, tol=1e-10, max_iter=100_000)
        weights = model.fit(concepts.T, row).coef_
        if np.count_nonzero(weights > 1e-7) >= words:
            break
    return weights


@pytest.mark.parametrize(("concepts", "dim", "words"), [(20, 40, 3), (300, 24, 8), (800, 64, 30), (3, 16, 3)])
def test_words_are_the_optimum_over_the_whole_vocabulary(concepts, dim, words):
    texts, rows = space(concepts, concepts, dim)
    centred = texts.astype(np.float64) - texts.mean(axis=0, dtype=np.float64)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)

    for row, told in zip(rows, SparseWords(texts, words)(rows), strict=True):
        z = row / np.linalg.norm(row)
        weights = lasso(centred, z, words)
        largest = np.sort(weights)[::-1][:words]
        np.testing.assert_allclose(told.weights, largest[: len(told.weights)], atol=1e-3)
        np.testing.assert_allclose(told.weights, weights[told.places], atol=1e-3)
        rebuilt = told.weights @ centred[told.places]
        assert told.cosine == pytest.approx(rebuilt @ z / np.linalg.norm(rebuilt), abs=1e-4)


def test_rows_do_not_depend_on_the_batch_or_their_length(monkeypatch):
    texts, rows = space(1, 100, 20)
    words = SparseWords(texts, 5)
    together = words(rows)

    monkeypatch.setattr("t2c_search.concepts.describe.sparse._CELLS", 700)
    for alone, told in zip(words(7 * rows), together, strict=True):
        np.testing.assert_array_equal(alone.places, told.places)
        np.testing.assert_allclose(alone.weights, told.weights, atol=1e-4)


def test_what_no_word_tells_has_none():
    texts, _ = space(2, 30, 20)
    (nothing,) = SparseWords(texts)(np.zeros((1, 20)))

    assert (len(nothing.places), nothing.cosine) == (0, 0.0)
    assert SparseWords(texts)(np.empty((0, 20))) == []
    apart = SparseWords(np.eye(20, dtype=np.float32)[:2])
    assert len(apart(np.eye(20)[5:6])[0].places) == 0


@pytest.mark.parametrize(("concepts", "words"), [(1, 3), (5, 0), (5, 101)])
def test_too_few_concepts_or_no_words_are_refused(concepts, words):
    with pytest.raises(UsageError):
        SparseWords(np.eye(8, dtype=np.float32)[:concepts], words)


def test_directions_lose_what_they_share_with_the_means():
    rng = np.random.default_rng(3)
    mean, texts = rng.normal(size=12) * 0.1, rng.normal(size=(6, 12)) + 3

    told = directions(["one", "other"], rng.normal(size=(2, 12)), mean, texts)

    np.testing.assert_allclose(told.centred @ np.stack([mean, texts.mean(axis=0)]).T, 0, atol=1e-6)
    np.testing.assert_allclose(told.points - mean, told.centred * np.sqrt(1 - mean @ mean), atol=1e-6)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Drawn scenes indexed through the convolutional net, with one file of words for each shape and colour."""
    folder = tmp_path_factory.mktemp("scenes")
    drawn = list(draw(11, 120))
    for scene in drawn:
        Image.fromarray(scene.image).save(folder / f"{scene.index}.png")
    (folder / "words.txt").write_text("# shapes\n" + "\n".join(SHAPES) + "\n")
    with t2c.open_collection("scenes", str(folder / "store"), clip="mini", backbone="mini:cnn") as collection:
        collection.index(str(folder))
        yield collection, folder, drawn


def test_an_expression_an_image_and_an_id_are_told(scenes):
    collection, folder, drawn = scenes
    (mean,) = collection.describe('"a red circle" >= 2sd').things
    single = next(scene for scene in drawn if len(scene.truth.things) == 1)
    path = folder / f"{single.index}.png"
    found = collection.describe(image=path, vocabulary=folder / "words.txt", words=2)
    (hit,) = [each for each in collection.search(limit=200, where="width = 96") if each.path == str(path)]

    assert mean.words[0].name == "a red circle"
    assert (found.things[0].words[0].name, found.things[0].words[0].group) == (single.truth.things[0].shape, "shapes")
    assert (found.vocabulary, found.concepts) == ("words.txt", len(SHAPES))
    by_id = collection.describe(ids=hit.id, vocabulary=folder / "words.txt", words=2).things[0]
    assert (by_id.subject, by_id.words) == (str(path), found.things[0].words)
    assert collection.describe(ids=[hit.id] * 2, vocabulary="star,ring").to_pandas()["subject"].tolist() == [str(path)]


def test_each_image_is_told_as_it_is_alone(scenes):
    collection, folder, drawn = scenes
    each = list(collection.describe_each(vocabulary=folder / "words.txt", words=3))
    right = [drawn[int(Path(one.subject).stem)].truth.matches_text(f"a {one.words[0].name}") for one in each]

    assert len(each) == len(drawn)
    assert np.mean(right) > 0.85
    alone = collection.describe(image=each[7].subject, vocabulary=folder / "words.txt", words=3).things[0]
    assert [word.name for word in alone.words] == [word.name for word in each[7].words]


def test_vectors_of_the_backbone_go_through_the_aligner_and_directions_through_its_linear_part(scenes):
    collection, _, _ = scenes
    aligner = read_aligner(collection.store)
    assert isinstance(aligner, Aligner)
    star = collection.searcher.texts.rows(["a star"])[0]
    towards = np.linalg.lstsq(aligner.weight.numpy().T.astype(np.float64), star.astype(np.float64), rcond=None)[0]

    class_vector = collection.describe(directions=towards)
    long = collection.describe(directions=np.stack([1000 * towards, -towards]))

    assert "star" in class_vector.things[0].words[0].name
    # neither the length of a class vector nor the aligner's bias has a part in it
    assert [word.name for word in long.things[0].words] == [word.name for word in class_vector.things[0].words]
    assert "star" not in long.things[1].words[0].name
    assert [each.subject for each in long.things] == ["direction 0", "direction 1"]
    native = collection.models.backbone.image_dim
    assert len(collection.describe(vectors=np.ones((2, native))).things) == 2


def test_a_saved_concept_is_told(scenes):
    collection, _, _ = scenes
    collection.add_concept("taught", texts=["a heart"])

    assert "heart" in collection.describe(concept="@taught").things[0].words[0].name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "one thing at a time"),
        ({"query": "a dog", "vectors": np.ones(3)}, "one thing at a time"),
        ({"vectors": np.ones((2, 7))}, "7 numbers"),
        ({"vectors": np.zeros((2, 7))}, "no direction"),
        ({"directions": [[1, float("nan")]]}, "no direction"),
        ({"directions": np.ones((2, 2, 2))}, "shape"),
        ({"vectors": [["a"]]}, "no array of numbers"),
        ({"ids": "11111111-1111-5111-8111-111111111111"}, "no image of the id"),
        ({"ids": "nonsense"}, "no id"),
        ({"concept": "unheard"}, "no concept is saved"),
        ({"query": '"a star" >= 0.999'}, "no image matches"),
        ({"query": "a star", "vocabulary": "star"}, "no vocabulary"),
        ({"query": "a star", "vocabulary": ["star"]}, "at least two"),
        ({"query": "a star", "words": 0}, "words is 0"),
        ({"query": "a star", "words": 1000}, "1000 words"),
    ],
)
def test_what_cannot_be_told_is_refused(scenes, asked, message):
    with pytest.raises(UsageError, match=message):
        scenes[0].describe(**asked)


def test_the_command_tells_and_writes(scenes, tmp_path):
    collection, folder, _ = scenes
    options = ["-c", "scenes", "-s", str(folder / "store")]
    collection.release()

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["describe", *arguments, *options])
        assert result.exit_code == code, result.output
        return result.stdout

    assert "a red circle" in run('"a red circle" >= 2sd')
    told = json.loads(run("--where", "width = 96", '"a star" top 10%', "-n", "3", "--json"))
    assert len(told["things"][0]["words"]) == 3
    run("--each", "-o", str(tmp_path / "each.csv"), "--vocabulary", "star,ring,heart")
    with (tmp_path / "each.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["word"] for row in rows} == {"star", "ring", "heart"}
    assert len({row["subject"] for row in rows}) > 100
    run('"a star" top 10%', "-o", str(tmp_path / "words.png"))
    with Image.open(tmp_path / "words.png") as picture:
        assert picture.size[0] > 300
    np.save(tmp_path / "two.npy", np.random.default_rng(0).normal(size=(2, collection.card.clip.dim)))
    assert "vector 1" in run("--vector", str(tmp_path / "two.npy"))
    run("--direction", str(tmp_path / "words.png"), code=1)
    run("--each", code=1)
    run('"a star"', "-o", str(tmp_path / "words.doc"), code=1)
    assert not (tmp_path / "words.doc").exists()


def test_the_bundled_decoder_says_a_sentence_and_its_cosine_back(scenes):
    collection, folder, drawn = scenes
    singles = [scene for scene in drawn if len(scene.truth.things) == 1]
    told = [collection.describe(image=folder / f"{scene.index}.png", words=1).things[0] for scene in singles[:12]]

    assert np.mean([s.truth.matches_text(each.sentence) for s, each in zip(singles, told, strict=False)]) > 0.7
    rows = collection.describe(image=folder / f"{singles[0].index}.png", decoder=mini.path("decoder")).things
    assert (rows[0].sentence, rows[0].sentence_cosine) == (told[0].sentence, pytest.approx(told[0].sentence_cosine))
    assert 0.4 < np.mean([each.sentence_cosine for each in told]) <= 1


def test_a_decoder_of_another_space_is_refused(scenes, tmp_path):
    collection, folder, _ = scenes
    shutil.copytree(mini.path("decoder"), tmp_path / "decoder")
    config = json.loads((tmp_path / "decoder" / "config.json").read_text())
    config["clip"] |= {"id": "open_clip:other", "fingerprint": {"weights": "others", "preprocessing": "p"}}
    (tmp_path / "decoder" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="space of 'open_clip:other', not of 'mini'"):
        collection.describe(image=folder / "1.png", decoder=tmp_path / "decoder")
    with pytest.raises(t2c.EncoderError, match="no decoder in"):
        collection.describe(image=folder / "1.png", decoder=folder)
