"""``anywhere(...)`` against plain numpy on drawn scenes, on every store: cosines, sets, order, and what vouches for them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from t2c_search.attribution import stored
from t2c_search.attribution.explained import Explained
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.errors import ExpressionError, UsageError
from t2c_search.query.execution.searcher import Known, Searcher, Wanted
from t2c_search.query.language.concepts import Anywhere, Difference, Phrase
from t2c_search.query.language.constraints import read_tree, write_tree
from t2c_search.query.language.printer import unparse
from t2c_search.query.language.syntax import parse, parse_filter
from t2c_search.query.planning.texts import PROMPTS, Texts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorSpec
from t2c_search.types import CLIP, FACTORS, FloatArray, Points
from tests.stubs.rest import QdrantStub

from .worlds import point_id, unit

SCENES = 90
LACKING = 88  # this scene and those after it have no factors
STAR, GRASS = 'anywhere("a red star")', '"on grass"'
Vector = NDArray[np.float64]


@dataclass
class Drawn:
    """Scenes in stores, and in plain arrays what is known of them."""

    searchers: dict[str, Searcher]
    rows: FloatArray
    codes: list[FloatArray]
    ids: list[str]
    texts: dict[str, Vector]

    def text(self, text: str) -> Vector:
        """Return a text's unit direction: the mean of its prompts."""
        return unit(np.mean([self.texts[prompt.format(text.removeprefix("a "))] for prompt in PROMPTS], axis=0))

    def regions(self, direction: Vector) -> Vector:
        """Return the best cosine over each image's places; NaN where factors lack."""
        best = np.full(SCENES, np.nan)
        for at, rows in enumerate(self.codes[:LACKING]):
            content = rows.astype(np.uint8).tobytes()
            down, across, rank, width = struct.unpack_from("<4H", content)
            scales = np.frombuffer(content, "<f4", rank, 8)
            left = np.frombuffer(content, np.int8, (1 + down * across) * rank, 8 + 4 * rank).reshape(-1, rank)
            right = np.frombuffer(content, np.int8, rank * width, 8 + 4 * rank + left.size).reshape(rank, width)
            matrix = left.astype(np.float64) @ (right * scales[:, None].astype(np.float64))
            best[at] = (unit(matrix[0] + matrix[1:]) @ direction).max()
        return best

    def z(self, cosines: Vector) -> Vector:
        """Return standard deviations above the mean of the images that have the cosine."""
        return (cosines - np.nanmean(cosines)) / np.nanstd(cosines)

    def chosen(self, passed: NDArray[np.bool_]) -> set[str]:
        return {self.ids[at] for at in np.flatnonzero(passed)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drawn]:
    model = registry.load("mini", device="cpu")
    batch = torch.stack([model.prepare(Image.fromarray(scene.image)) for scene in draw(7, SCENES)])
    found = Explained(model).explain(batch)
    rows = unit(found.vectors.numpy()).astype(np.float32)
    codes = stored.encode(found, None, native=False)
    codes[LACKING:] = [np.empty((0, codes[0].shape[1]), np.float32)] * (SCENES - LACKING)
    ids = [point_id(number) for number in range(SCENES)]
    known = VectorStatistics(rows.shape[1])
    known.add(ids, rows)
    texts: dict[str, Vector] = {}

    def embed(asked: list[str]) -> FloatArray:
        found = model.encode_texts(asked).numpy()
        texts.update(zip(asked, found.astype(np.float64), strict=True))
        return found

    reader = stored.FactorReader(False, lambda: None, "exact")
    with QdrantStub() as stub:
        places = {"embedded": str(tmp_path_factory.mktemp("store")), "memory": ":memory:", "server": stub.url}
        stores = {kind: open_store(place, "anywhere") for kind, place in places.items()}
        for store in stores.values():
            store.create(
                CollectionSpec({CLIP: VectorSpec(rows.shape[1]), FACTORS: stored.KEPT_AS}, {"width": "integer"})
            )
            payloads = [{"path": f"{number}.png", "width": number} for number in range(SCENES)]
            store.upsert(Points(ids, payloads, {CLIP: rows}, multivectors={FACTORS: codes}))
        made = {
            kind: Searcher(store, Known(known, factors=reader), Texts(embed), lambda path: rows[0])
            for kind, store in stores.items()
        }
        yield Drawn(made, rows, codes, ids, texts)
        for store in stores.values():
            store.close()


@pytest.fixture(params=["embedded", "memory", "server"])
def searcher(drawn: Drawn, request: pytest.FixtureRequest) -> Searcher:
    return drawn.searchers[request.param]


def mined(searcher: Searcher, expression: str) -> set[str]:
    found = {hit.id for hit in searcher.mine(expression)}
    assert searcher.count(expression).count == len(found)
    assert searcher.count(expression, approximate=True).count == len(found)  # the sample is all of them
    return found


def test_sets_are_those_of_plain_numpy(drawn: Drawn, searcher: Searcher) -> None:
    list(searcher.mine(f'{STAR} OR "on grass" OR anywhere("a blue star") OR "a star"'))  # embeds the texts
    red, blue = (drawn.regions(drawn.text(f"a {colour} star")) for colour in ("red", "blue"))
    star, grass = drawn.z(red), drawn.z((drawn.rows @ drawn.text("on grass")).astype(np.float64))
    there = ~np.isnan(red)
    assert mined(searcher, f"{STAR} >= 1sd") == drawn.chosen(star >= 1)
    assert mined(searcher, STAR) == drawn.chosen(star >= 1.1)
    assert mined(searcher, f"NOT {STAR} >= 0.5sd") == drawn.chosen(there & ~(star >= 0.5))
    assert mined(searcher, f"{STAR} > {np.nanmedian(red):.4f}") == drawn.chosen(red > float(f"{np.nanmedian(red):.4f}"))
    assert mined(searcher, f"{STAR} >= 0.3sd AND NOT {GRASS} >= 0sd") == drawn.chosen((star >= 0.3) & ~(grass >= 0))
    assert mined(searcher, f"{STAR} >= 1sd OR {GRASS} >= 1sd") == drawn.chosen((star >= 1) | (grass >= 1))
    assert mined(searcher, f"{STAR} >= 0sd AND width < 30") == drawn.chosen((star >= 0) & (np.arange(SCENES) < 30))
    least = np.interp(0.2 * LACKING, np.arange(1, LACKING + 1), np.sort(red[there])[::-1])  # they are a sample of all
    assert mined(searcher, f"{STAR} top 20%") == drawn.chosen(red >= least)
    turned = drawn.regions(unit(drawn.text("a red star") - drawn.text("a blue star")))
    assert mined(searcher, 'anywhere("a red star" OVER "a blue star") >= 1sd') == drawn.chosen(drawn.z(turned) >= 1)
    example = drawn.regions(drawn.rows[4].astype(np.float64))
    assert mined(searcher, f'anywhere(like("{drawn.ids[4]}")) >= 1sd') == drawn.chosen(drawn.z(example) >= 1)
    assert blue[there].std() > 0


def test_order_is_that_of_plain_numpy_and_certain_after_a_scan(drawn: Drawn, searcher: Searcher) -> None:
    found = searcher.search(STAR, Wanted(12, exact=True))
    z = drawn.z(drawn.regions(drawn.text("a red star")))
    best = np.argsort(-np.where(np.isnan(z), -np.inf, z))[:12]
    assert [hit.id for hit in found] == [drawn.ids[at] for at in best]
    np.testing.assert_allclose([hit.score for hit in found], z[best], atol=1e-4)
    assert (found.certificate.kind, found.plan.branches[0].path) == ("exact", "scan")
    both = searcher.search(f"{STAR} AND {GRASS}", Wanted(SCENES, exact=True))
    grass = drawn.z((drawn.rows @ drawn.text("on grass")).astype(np.float64))
    total = drawn.z(-sum(np.logaddexp(0, 1.5 - each[:LACKING]) for each in (z, grass)))
    want = dict(zip(drawn.ids, total, strict=False))
    assert len(both) == LACKING  # the others are not known
    np.testing.assert_allclose([hit.score for hit in both], [want[hit.id] for hit in both], atol=1e-3)
    assert sorted((hit.score for hit in both), reverse=True) == [hit.score for hit in both]


def test_factors_are_read_only_of_images_that_may_pass(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = drawn.searchers["memory"]
    whole, read = f"{GRASS} >= 1sd", set[str]()
    grassy = {hit.id for hit in searcher.mine(whole)}
    found = {hit.id for hit in searcher.mine(f"{STAR} >= 0sd AND {whole}")}
    fetch = searcher.store.fetch

    def noted(ids: list[str], *, vectors: tuple[str, ...] = (), payload: bool = True) -> Points:
        if FACTORS in vectors:
            read.update(ids)
        return fetch(ids, vectors=vectors, payload=payload)

    monkeypatch.setattr(searcher.store, "fetch", noted)
    assert {hit.id for hit in searcher.mine(f"{STAR} >= 0sd AND {whole}")} == found
    assert read == grassy
    best = searcher.search(f"{STAR} AND {whole}", Wanted(3, exact=True))
    assert (best.certificate.kind, best.plan.candidates) == ("exact", len(grassy))


def test_without_a_scan_nothing_is_certain(drawn: Drawn, searcher: Searcher) -> None:
    found = searcher.search(STAR, Wanted(5, exact=False, max_candidates=40))
    assert (len(found), found.certificate.kind, found.plan.candidates) == (5, "none", 40)
    assert found.certificate.reason is not None
    assert "exact search" in found.certificate.reason
    stopped = searcher.search(STAR, Wanted(5, exact=True, max_seconds=0))
    assert stopped.certificate.kind == "none"


def test_regions_of_a_concept_are_another_axis_than_the_concept_itself(drawn: Drawn) -> None:
    searcher = drawn.searchers["memory"]
    assert searcher.mine(f'{STAR} >= 1sd AND NOT "a red star" >= 1sd').plan.branches  # no contradiction
    assert not searcher.mine(f"{STAR} >= 1sd AND NOT {STAR} >= 1sd").plan.branches


def test_it_is_written_as_it_is_read() -> None:
    tree = Anywhere(concept=Phrase(text="a small red bag"))
    assert parse("anywhere(a small red bag)") == parse('anywhere("a small red bag")') == tree
    assert read_tree(write_tree(tree)) == tree
    assert unparse(tree) == 'anywhere("a small red bag")'
    over = Anywhere(concept=Difference(concept=Phrase(text="sunny"), over=Phrase(text="cloudy")))
    assert parse(unparse(over)) == over
    assert parse("a dog anywhere in the snow") == Phrase(text="a dog anywhere in the snow")
    with pytest.raises(ExpressionError, match="is needed here, not a condition"):
        parse("anywhere(width > 3)")
    with pytest.raises(ExpressionError, match="texts belong in the query"):
        parse_filter('anywhere("a bag")')


@pytest.mark.parametrize("wrong", [f'2 * {STAR} + "grass"', f'{STAR} OVER "grass"', f"anywhere({STAR})"])
def test_a_maximum_is_no_direction(drawn: Drawn, wrong: str) -> None:
    with pytest.raises(UsageError, match=r'anywhere\("a red star"\) is a maximum over places and no direction'):
        drawn.searchers["memory"].search(wrong)


def test_a_collection_without_factors_says_how_to_have_them(drawn: Drawn) -> None:
    searcher = drawn.searchers["memory"]
    plain = Searcher(searcher.store, replace(searcher.known, factors=None), searcher.texts, lambda path: drawn.rows[0])
    with pytest.raises(UsageError, match="t2c index --explainable"):
        plain.search(STAR)
