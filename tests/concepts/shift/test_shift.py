"""Sides of a collection, or of two, as users compare them: what was planted is found, what chance does is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search import Collection, ExpressionError, UsageError, open_collection, shift_between
from t2c_search.concepts.shift import Asked, Chosen, diagnose, tally
from t2c_search.concepts.shift.result import LITTLE, Shift
from t2c_search.demo.world import draw
from t2c_search.export.reading.shift import write_shift
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.language.syntax import parse
from t2c_search.state.aligner import read_aligner
from t2c_search.stores import open_store
from t2c_search.types import CLIP, FloatArray, Payload, Points
from tests.cli.conftest import Outcome, run
from tests.query.worlds import WORDS, ClusteredWords, clustered

OF_WORDS = Asked(WORDS, permutations=199)
STAR, NO_STAR = 'star = "yes"', 'star = "no"'


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    return clustered(open_store(":memory:", "clusters"), 1500, 24).searcher


def compare(searcher: Searcher, a: str, b: str | None, asked: Asked = OF_WORDS) -> Shift:
    other = Chosen(searcher, None, "others", others=True) if b is None else Chosen(searcher, parse(b), b)
    return diagnose(Chosen(searcher, parse(a), a), other, asked)


def test_what_two_sides_differ_in_is_found_with_its_size(searcher: Searcher) -> None:
    found = compare(searcher, '"snow" >= 1sd', 'NOT "snow" >= 0.5sd')
    assert found.words[0].word == found.a.findings[0].word.word == "snow"
    assert found.words[0].sure and found.any.p <= 0.01 and found.shared == 0
    assert [word.g for word in found.words] == sorted((word.g for word in found.words), reverse=True)
    rows = {name: searcher.mine(query) for name, query in (("a", '"snow" >= 1sd'), ("b", 'NOT "snow" >= 0.5sd'))}
    vectors = [searcher.store.fetch([hit.id for hit in hits], vectors=(CLIP,)).vectors[CLIP] for hits in rows.values()]
    assert (found.a.images, found.b.images) == tuple(map(len, vectors))
    for word in found.words:
        text = searcher.texts.rows([word.word])[0]
        a, b = ((each @ text).astype(np.float64) for each in vectors)
        assert word.difference == pytest.approx(a.mean() - b.mean(), abs=1e-5)
        assert word.auroc == pytest.approx((a[:, None] > b).mean(), abs=1e-4)
        assert word.auroc_error == 0
        assert (word.g > 0) == (word.t > 0) and word.low < word.g < word.high
        assert word.q >= word.p - 1e-15


def test_the_images_shown_are_those_that_show_it(searcher: Searcher) -> None:
    found = compare(searcher, '"snow" >= 1sd', None)
    text = searcher.texts.rows(["snow"])[0]
    points = [searcher.store.fetch([h.id for h in searcher.mine('"snow" >= 1sd')], vectors=(CLIP,))][0]
    order = np.argsort(-(points.vectors[CLIP] @ text))
    shown = [image.id for image in found.a.findings[0].images]
    assert shown == [points.ids[at] for at in order[: len(shown)]]
    assert all(image.path.endswith(".jpg") for image in found.a.typical)
    assert {image.id for image in found.a.typical} <= set(points.ids)
    assert not {image.id for image in found.b.typical} & set(points.ids)
    scores = [image.score for image in found.b.typical]
    assert scores == sorted(scores, reverse=True) and len(scores) == 12


def test_images_in_both_sides_are_left_out_and_told(searcher: Searcher) -> None:
    found = compare(searcher, "width < 160", "width >= 140")
    both = searcher.count("width < 160 AND width >= 140").count
    assert found.shared == both > 0
    assert f"{both} images are in both sides and were left out" in found.told
    assert found.a.images == searcher.count("width < 140").count
    with pytest.raises(UsageError, match="1500 images are in both sides"):
        compare(searcher, "width >= 100", "width >= 0")


def test_too_few_images_are_refused(searcher: Searcher) -> None:
    with pytest.raises(UsageError, match="side A, width < 0, has 0 images to compare; at least 5"):
        compare(searcher, "width < 0", "width >= 150")
    with pytest.raises(UsageError, match="side B"):
        compare(searcher, "width < 150", "width < 0")


@dataclass(frozen=True, slots=True, eq=False)
class Given(Chosen):
    """Images that are given, not read from a store."""

    points: Points | None = None

    def read(self, field: str | None) -> Iterator[Points]:
        assert self.points is not None
        yield self.points


def given(searcher: Searcher, name: str, first: int, rows: FloatArray, fields: Sequence[Payload] = ()) -> Given:
    ids = [f"{first + each:08d}" for each in range(len(rows))]
    return Given(searcher, None, name, points=Points(ids, list(fields), {CLIP: rows}))


def test_within_a_fields_values_what_the_field_explains_is_gone(searcher: Searcher) -> None:
    """Simpson: snow is where the alps are, and one side has more of them."""
    rows = ClusteredWords(24).images(1500)
    scores = rows @ searcher.texts.rows(["snow"])[0]
    snowy = scores > np.median(scores)
    in_a = np.random.default_rng(4).random(len(rows)) < np.where(snowy, 0.8, 0.2)
    places: list[Payload] = [{"place": "alps" if each else "sea"} for each in snowy]
    places[0]["place"] = places[1]["place"] = "moon"  # two images: too few
    del places[2]["place"]
    a, b = (
        given(searcher, name, first, rows[chosen], [places[at] for at in np.flatnonzero(chosen)])
        for name, first, chosen in (("A", 0, in_a), ("B", 5000, ~in_a))
    )
    plain = diagnose(a, b, OF_WORDS)
    within = diagnose(a, b, replace(OF_WORDS, by="place"))
    assert plain.words[0].word == "snow" and plain.words[0].g > 0.5 and plain.words[0].sure and plain.any.p <= 0.01
    snow = next(word for word in within.words if word.word == "snow")
    assert abs(snow.g) < 0.15 and not snow.sure and snow.rank_p > 0.01 and within.any.p > 0.01
    assert {each.value for each in within.strata if each.used} == {"alps", "sea"}
    assert [each.value for each in within.strata if not each.used] == ["moon"]
    assert within.without_value == 1 and within.a.images + within.b.images == 1497
    told = " ".join(within.told)
    assert "compared within 2 values of 'place'" in told and "'moon'" in told and "1 images have no" in told


def test_a_field_of_too_many_values_is_refused(searcher: Searcher) -> None:
    with pytest.raises(UsageError, match="field 'width' has more than 20 values"):
        compare(searcher, '"snow" >= 1sd', None, Asked(WORDS, "width"))


def test_nothing_planted_alarms_no_more_often_than_said(searcher: Searcher) -> None:
    """Sides dealt out by lot, 100 times: at most 11 alarms at 5 % (binomial, 0.99)."""
    rows, rng = ClusteredWords(24).images(1500), np.random.default_rng(12)
    alarms = {"max-T": 0, "q": 0, "any": 0}
    for trial in range(100):
        chosen = rng.permutation(len(rows))
        sides = [given(searcher, "by lot", first, rows[chosen[first : first + 40]]) for first in (0, 40)]
        found = diagnose(*sides, Asked(WORDS, permutations=99, seed=trial))
        alarms["max-T"] += any(word.sure for word in found.words)
        alarms["q"] += any(word.q <= 0.05 for word in found.words)
        alarms["any"] += found.any.p <= 0.05
    assert max(alarms.values()) <= 11, alarms
    assert alarms["max-T"] >= 1  # a test that never speaks is none


def test_a_p_value_comes_with_the_effect_it_is_of(searcher: Searcher) -> None:
    """The public code tells a p-value alone: among many images, what nobody could see is as sure as what all do."""
    beach, cat = searcher.texts.rows(["beach", "cat"])
    rows = ClusteredWords(24).images(8000)
    a, b = given(searcher, "A", 0, rows[::2] + np.float32(0.05) * (beach - cat)), given(searcher, "B", 5000, rows[1::2])
    found = diagnose(a, b, OF_WORDS)
    first = found.words[0]
    assert first.word == "beach" and first.p < 1e-4 and first.sure  # as sure as can be
    assert 0 < first.low < first.g < LITTLE and first.auroc < 0.56  # and hardly there
    assert "which is little" in " ".join(found.told)


def test_many_images_are_counted_in_bins_and_permuted_by_lot(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = compare(searcher, '"snow" >= 0.5sd', None)
    monkeypatch.setattr(tally, "SAMPLE", 150)
    monkeypatch.setattr("t2c_search.concepts.shift.diagnosis.SAMPLE", 150)
    rough = compare(searcher, '"snow" >= 0.5sd', None)
    assert rough.permuted == (150, 150) and "permutations are of 150 and 150 images" in " ".join(rough.told)
    for one, other in zip(exact.words, rough.words, strict=True):
        assert one.word == other.word and one.g == pytest.approx(other.g) and one.p == pytest.approx(other.p)
        assert 0 < other.auroc_error < 0.01
        assert abs(one.auroc - other.auroc) <= other.auroc_error
    assert rough.words[0].sure


def test_words_that_say_the_same_are_one_finding(searcher: Searcher) -> None:
    words = ("snow", "some snow", "much snow", "dog", "cat")
    found = compare(searcher, '"snow" >= 1sd', None, Asked(words, permutations=99))
    first = found.a.findings[0]
    assert len(first.like) >= 1 and {first.word.word, *first.like} <= {"snow", "some snow", "much snow"}
    named = [finding.word.word for side in (found.a, found.b) for finding in side.findings]
    likes = [each for side in (found.a, found.b) for finding in side.findings for each in finding.like]
    assert sorted(named + likes) == sorted(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes, and what each shows in a file beside it."""
    folder = tmp_path_factory.mktemp("scenes")
    for scene in draw(31, 120):
        Image.fromarray(scene.image).save(folder / f"{scene.index}.png")
        star = any(thing.shape == "star" for thing in scene.truth.things)
        told = {"star": "yes" if star else "no", "place": scene.truth.background, "n": scene.index}
        (folder / f"{scene.index}.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def scenes(folder: Path) -> Iterator[Collection]:
    with open_collection("scenes", str(folder.parent / "s.t2c"), clip="mini", backbone="mini:cnn") as images:
        assert images.index([folder], fit_pairs=100).indexed == 120
        yield images
        images.release()


def test_a_collection_tells_its_shift(scenes: Collection, tmp_path: Path) -> None:
    found = scenes.shift(STAR, NO_STAR, permutations=199)
    assert "star" in found.words[0].word and found.a.findings[0].word.sure
    assert len(found.words) == 158  # the drawn world's own words
    assert found.to_arrow().column_names[:2] == ["word", "g"] and len(found.to_pandas()) == 158
    document = json.loads(json.dumps(found.to_json()))
    assert document["a"]["name"] == STAR and document["told"] == list(found.told)
    others = scenes.shift(STAR, permutations=199)
    assert others.b.name == "all others" and others.shared == 0
    assert [word.word for word in others.words] == [word.word for word in found.words]
    few = scenes.shift(STAR, vocabulary="a star, a ring", permutations=199, by="place")
    assert [word.word for word in few.words] == ["a star", "a ring"]


def test_two_runs_tell_the_same(scenes: Collection) -> None:
    one, other = (scenes.shift(STAR, NO_STAR, permutations=99, seed=3).to_json() for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("arguments", "terms", "told"),
    [
        (("stra = 1",), {}, "no payload field stra"),
        ((STAR,), {"by": "plaze"}, "no payload field plaze; did you mean place"),
        ((STAR,), {"by": "n"}, "field 'n' has more than 20 values"),
        ((STAR,), {"permutations": 3}, "permutations is 3: expected 19"),
        ((STAR,), {"permutations": "many"}, "permutations is 'many'"),
        ((STAR,), {"vocabulary": "nowhere.txt"}, "no vocabulary can be read from nowhere.txt"),
        ((STAR,), {"vocabulary": []}, "no concept"),
        ((STAR, STAR), {}, "in both sides"),
    ],
)
def test_mistakes_are_told(scenes: Collection, arguments: tuple[str, ...], terms: dict[str, object], told: str) -> None:
    with pytest.raises((UsageError, ExpressionError), match=told):
        scenes.shift(*arguments, **terms)


def another(folder: Path, name: str, **models: str) -> Collection:
    return open_collection(
        name, str(folder.parent / f"{name}.t2c"), **{"clip": "mini", "backbone": "mini:cnn", **models}
    )


def test_two_collections_are_compared_by_one_aligner(scenes: Collection, folder: Path, tmp_path: Path) -> None:
    """Where nothing differs but the aligner, that must not show: here it turns everything into its opposite."""
    aligner = read_aligner(scenes.store)
    replace(aligner, weight=-aligner.weight, bias=-aligner.bias).save(tmp_path / "turned.safetensors")
    half = tmp_path / "half"
    half.mkdir()
    for scene in draw(77, 60):
        Image.fromarray(scene.image).save(half / f"{scene.index}.png")
    with another(tmp_path / "x", "half") as second:
        second.index([half], keep_native=True, aligner=tmp_path / "turned.safetensors")
        found = shift_between(scenes, second, permutations=199)
        assert found.any.p > 0.01 and not any(word.sure for word in found.words)
        assert (found.a.name, found.b.name) == ("scenes: all images", "half: all images")
        assert (found.a.images, found.b.images) == (120, 60)
        stars = shift_between(scenes, second, STAR, permutations=199)
        assert "star" in stars.words[0].word and stars.words[0].sure
    with another(tmp_path / "x", "plain") as second:
        second.index([half], fit_pairs=40)
        with pytest.raises(UsageError, match="aligned differently"):
            shift_between(scenes, second)
    with another(tmp_path / "x", "vit", backbone="mini:vit") as second:
        second.index([half], fit_pairs=40)
        with pytest.raises(UsageError, match="different backbones, 'mini:cnn' and 'mini:vit'"):
            shift_between(scenes, second)


def test_other_spaces_are_refused(scenes: Collection, folder: Path, tmp_path: Path) -> None:
    from tests.encoders.tiny import save_open_clip

    clip = save_open_clip(tmp_path / "clip", seed=0)
    with another(tmp_path / "x", "tiny", clip=clip, backbone=clip) as second:
        second.index([folder])
        with pytest.raises(UsageError, match="in different spaces: CLIP models 'mini' and"):
            shift_between(scenes, second)


def test_pictures_and_pages(scenes: Collection, tmp_path: Path) -> None:
    found = scenes.shift(STAR, NO_STAR, permutations=99)
    write_shift(found, tmp_path / "x.png", "a <b> $\\frac$")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 800 and len(picture.convert("RGB").getcolors(1 << 24)) > 50
    write_shift(found, tmp_path / "x.html", "a <b> title")
    page = (tmp_path / "x.html").read_text()
    assert "a &lt;b&gt; title" in page and "<script" not in page
    assert page.count("data:image/svg+xml") == 1 and page.count("data:image/jpeg") > 24
    for heading in ("Most like A", "Most like B", "More in A: ", "More in B: "):
        assert heading in page
    with pytest.raises(UsageError, match="expected a name that ends in"):
        write_shift(found, tmp_path / "x.docx", "title")
    assert not (tmp_path / "x.docx").exists()


@pytest.fixture(scope="module")
def t2c(scenes: Collection, folder: Path) -> Callable[..., Outcome]:
    def shift(*arguments: object) -> Outcome:
        scenes.release()
        return run("shift", "-c", "scenes", "-s", folder.parent / "s.t2c", *arguments)

    return shift


def test_the_command_shows_a_table_writes_a_page_and_prints_json(t2c: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = t2c(STAR, NO_STAR, "--permutations", 99, "-n", 3, "-o", tmp_path / "stars.html")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("the sides differ (energy distance ")
    assert sum(line.startswith(f"More in {side}: star") for line in lines for side in "AB") == 2
    assert "star" in next(line for line in lines if line.startswith(" a")) and "95 % interval" in outcome.out
    assert (tmp_path / "stars.html").exists() and "written: " in outcome.err
    told = t2c(STAR, "--permutations", 99, "--vocabulary", "a star,a ring", "--by", "place", "--json").json
    assert [word["word"] for word in told["words"]] == ["a star", "a ring"]
    assert told["by"] == "place" and told["strata"] and told["permutations"] == 99


def test_the_command_tells_mistakes(t2c: Callable[..., Outcome]) -> None:
    for arguments, told in (
        ((), "say which images to compare"),
        ((STAR, STAR), "in both sides"),
        ((STAR, "--by", "plaze"), "did you mean place"),
        (("--other", "nowhere"), "nowhere"),
    ):
        outcome = t2c(*arguments)
        assert outcome.code != 0 and told in outcome.err and not outcome.out
