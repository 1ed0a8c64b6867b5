"""Collections that keep factors: made in the pass that embeds, kept by all that is done to them, and read with no image."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from t2c_search import Located, copy_collection
from t2c_search.attribution.methods import place_factors
from t2c_search.collection import Collection, open_collection
from t2c_search.decoding.decode import decode_file
from t2c_search.decoding.metadata import EXPLAINED
from t2c_search.encoders.pool import default_pool
from t2c_search.errors import UsageError
from t2c_search.explain.maps import maps
from t2c_search.state.aligner import read_aligner
from t2c_search.types import FACTORS
from tests.cli.conftest import Outcome
from tests.cli.conftest import t2c as t2c  # a fixture
from tests.collection.support import Aligners, fit_aligners
from tests.indexing.support import picture, save_pictures

IMAGES = 30
TEXTS = ("a red star", "a blue circle")


@pytest.fixture(scope="module")
def aligners(tmp_path_factory: pytest.TempPathFactory) -> Aligners:
    return fit_aligners(tmp_path_factory.mktemp("aligners"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save_pictures(tmp_path / "photos", IMAGES)
    return tmp_path / "photos"


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with opened(tmp_path) as found:
        yield found


def opened(folder: Path, name: str = "photos") -> Collection:
    return open_collection(name, str(folder / "store"), clip="mini", backbone="mini:cnn", device="cpu")


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count the images that go through the backbone meanwhile."""
    encoder = default_pool().load("mini:cnn", device="cpu")
    first = next(module for module in encoder.module.modules() if isinstance(module, torch.nn.Conv2d))  # type: ignore[union-attr]
    seen: list[int] = []
    hook = first.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    try:
        yield seen
    finally:
        hook.remove()


def have_factors(collection: Collection) -> list[bool]:
    points = next(collection.store.scan(vectors=(FACTORS,)))
    assert [payload.get(EXPLAINED) for payload in points.payloads] == [
        "exact" if len(codes) else None for codes in points.multivectors[FACTORS]
    ]
    return [bool(len(codes)) for codes in points.multivectors[FACTORS]]


def direct(collection: Collection, files: list[Path]) -> np.ndarray:
    """Return the maps of the texts made anew from the files."""
    encoder = default_pool().load("mini:cnn", device="cpu")
    batch = torch.stack([encoder.prepare(decode_file(file, decode_size=encoder.decode_size)) for file in files])  # type: ignore[union-attr]
    found = place_factors(encoder, read_aligner(collection.store), encoder.normalise(batch))  # type: ignore[arg-type, union-attr]
    searcher = collection.searcher
    rows = torch.from_numpy(searcher.texts.rows(TEXTS).copy())
    return maps(found, rows, torch.from_numpy(searcher.calibration.mean).float()).numpy()


def flat(found: Located) -> np.ndarray:
    return np.stack([each.reshape(len(TEXTS), -1) for each in found.maps])


def near(got: Located, want: np.ndarray) -> bool:
    return bool(np.abs(flat(got) - want).max() < 0.02 * np.abs(want).max())


def alike(got: Located, want: np.ndarray) -> float:
    """Return the mean cosine of maps: the backbone's space takes more room, and so loses more."""
    found = flat(got)
    return float(np.mean((found * want).sum(2) / np.linalg.norm(found, axis=2) / np.linalg.norm(want, axis=2)))


def test_each_image_goes_through_the_backbone_once_and_is_located_when_its_file_is_gone(
    collection: Collection, photos: Path
) -> None:
    with counted() as seen:
        report = collection.index(photos, explainable=True)
    assert (report.indexed, report.remarks) == (IMAGES, ())
    assert sum(seen) <= IMAGES + 1, "the sample of the fit too, but for one blank image"
    assert collection.card is not None
    assert collection.card.explainable == collection.summary()["explainable"] == "exact"
    assert all(have_factors(collection))
    hits = collection.search("a red star", limit=7).hits
    want = direct(collection, [Path(hit.path) for hit in hits])
    shutil.rmtree(photos)
    found = collection.locate(TEXTS, hits)
    assert near(found, want)
    assert (found.ids, found.texts, found.method) == (tuple(hit.id for hit in hits), TEXTS, "exact")
    assert found.maps[0].shape == (2, 6, 6)
    table = found.columns()
    assert len(table["id"]) == 2 * 7
    assert table["score"][0] == pytest.approx(float(want[0, 0].sum()), abs=1e-4)
    down, across = divmod(int(want[3, 1].argmax()), 6)
    assert (table["down"][7], table["across"][7]) == pytest.approx(((down + 0.5) / 6, (across + 0.5) / 6))
    assert len(found.to_json()["images"][0]["maps"][1]) == 6


def test_anywhere_is_asked_of_the_collection(collection: Collection, photos: Path) -> None:
    collection.index(photos, explainable=True)
    found = collection.search('anywhere("a red star")', limit=5)
    assert (len(found), found.certificate.kind) == (5, "exact")
    assert {hit.id for hit in collection.mine('anywhere("a red star") top 20%')} >= {hit.id for hit in found}


def test_factors_come_later_and_images_that_lack_them_are_embedded_again(collection: Collection, photos: Path) -> None:
    collection.index(photos)
    with pytest.raises(UsageError, match="t2c index --explainable"):
        collection.locate("a star", [])
    with pytest.raises(UsageError, match="t2c index --explainable"):
        collection.search('anywhere("a star")')
    before = collection.search("a star", limit=5)
    picture(99).save(photos / "new.png")
    report = collection.index(photos / "new.png", explainable=True)
    assert report.indexed == 1
    assert sum(have_factors(collection)) == 1
    lacking = next(hit for hit in before)
    with pytest.raises(UsageError, match="has no factors yet"):
        collection.locate("a star", lacking)
    report = collection.index(photos)  # asked for once is enough
    assert report.indexed == IMAGES
    (remark,) = report.remarks
    assert (remark.count, remark.kind) == (IMAGES, "images that were there without their factors were embedded again")
    assert all(have_factors(collection))
    assert collection.index(photos).unchanged == IMAGES + 1
    after = collection.search("a star", limit=5)
    assert len(set(map(str, (hit.id for hit in before))) & {hit.id for hit in after}) >= 4  # one image more


def test_renamed_copied_and_changed_images_keep_theirs(collection: Collection, photos: Path, tmp_path: Path) -> None:
    collection.index(photos, explainable=True)
    first, second, third = sorted(photos.iterdir())[:3]
    first.rename(photos / "renamed.png")
    shutil.copy(second, photos / "copied.png")
    picture(77).save(third)
    report = collection.index(photos, sync=True)
    assert (report.renamed, report.copied, report.indexed) == (1, 1, 1)
    assert all(have_factors(collection))
    copied, changed = (next(collection.mine(where=f'name = "{name}"')) for name in ("copied.png", third.name))
    assert near(collection.locate(TEXTS, [copied, changed]), direct(collection, [second, third]))
    collection.release()
    copy_collection("photos", str(tmp_path / "store"), "again", store=str(tmp_path / "store"))
    with opened(tmp_path, "again") as again:
        assert all(have_factors(again))
        assert again.card == collection.card


def test_what_is_tried_again_has_them_too(collection: Collection, photos: Path) -> None:
    broken = photos / "broken.jpg"
    broken.write_bytes(b"no image")
    assert collection.index(photos, explainable=True).failed == 1
    picture(5).save(broken)
    assert collection.retry().indexed == 1
    assert have_factors(collection) == [True] * (IMAGES + 1)


def test_realigned_ones_are_those_of_the_new_aligner(collection: Collection, photos: Path, aligners: Aligners) -> None:
    collection.index(photos, explainable=True, keep_native=True, aligner=aligners.own)
    files = sorted(photos.iterdir())[:5]
    ids = [next(collection.mine(where=f'name = "{file.name}"')).id for file in files]
    assert alike(collection.locate(TEXTS, ids), direct(collection, files)) > 0.98
    own = direct(collection, files)
    collection.realign(aligners.turned)
    turned = direct(collection, files)
    assert np.abs(turned - own).max() > 0.2 * np.abs(own).max()
    assert alike(collection.locate(TEXTS, ids), turned) > 0.98


def test_on_the_command_line(photos: Path, tmp_path: Path, t2c: Callable[..., Outcome]) -> None:
    named = ("-c", "photos", "--store", str(tmp_path / "store"))
    models = ("--clip", "mini", "--backbone", "mini:cnn")
    assert t2c("index", str(photos), *named, *models).code == 0
    refused = t2c("search", *named, 'anywhere("a star")')
    assert refused.code == 2
    assert "t2c index --explainable" in " ".join(refused.err.split())
    again = t2c("index", str(photos), *named, "--explainable")
    assert again.code == 0
    assert "embedded again" in " ".join((again.out + again.err).split())
    assert t2c("info", *named, "--json").json["explainable"] == "exact"
    found = t2c("search", *named, 'anywhere("a star") AND NOT "a ring" >= 1sd', "--json").json
    assert found["certificate"]["kind"] == "exact"
    assert found["hits"][0]["contributions"][0]["constraint"] == 'anywhere("a star")'


def test_an_image_that_is_not_there_and_an_empty_text_are_told(collection: Collection, photos: Path) -> None:
    collection.index(photos, explainable=True)
    with pytest.raises(UsageError, match="is no id of an image"):
        collection.locate("a star", "nobody")
    with pytest.raises(UsageError, match="has no image of the id"):
        collection.locate("a star", str(uuid.UUID(int=0)))
    with pytest.raises(UsageError, match="none of them empty"):
        collection.locate(["a star", " "], [])
    assert collection.locate("a star", []).maps == ()
