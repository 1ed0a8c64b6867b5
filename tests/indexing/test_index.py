import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2c_search.errors import StoreError
from t2c_search.filters import TextMatch
from t2c_search.indexing.report import IndexReport
from t2c_search.sources import list_images
from t2c_search.state.failures import read_failures
from t2c_search.state.statistics import CLAIMS
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, NATIVE, Failure
from tests.decoding.test_decode import png_header

from .support import (
    TinyEncoder,
    assert_same,
    assert_statistics_are_true,
    contents,
    create,
    index,
    no_encoder,
    picture,
    save_pictures,
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save_pictures(tmp_path / "photos", 20)
    return tmp_path / "photos"


@pytest.fixture
def embedded(tmp_path: Path) -> str:
    """The location of an empty embedded collection named ``photos``."""
    location = str(tmp_path / "photos.t2c")
    create(open_store(location, "photos"), indexes={}).close()  # every index takes a third of a second to make
    return location


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[VectorStore]:
    if getattr(request, "param", "memory") == "memory":
        opened = create(open_store(":memory:", "photos"))
    else:
        opened = open_store(request.getfixturevalue("embedded"), "photos")
    yield opened
    opened.close()


both_stores = pytest.mark.parametrize("store", ["memory", "embedded"], indirect=True)


def fresh(photos: Path, **captions: Path) -> VectorStore:
    """The collection that an undisturbed first run makes."""
    made = create(open_store(":memory:", "fresh"))
    index(list_images([photos], **captions), made)
    return made


@both_stores
def test_first_run_stores_unit_vectors_payloads_and_statistics(photos: Path, store: VectorStore) -> None:
    report = index(list_images([photos]), store)
    assert (report.seen, report.indexed, report.updated, report.unchanged, report.failed) == (20, 20, 0, 0, 0)
    stored = contents(store)
    assert sorted(stored) == [path.as_posix() for path in sorted(photos.iterdir())]
    for payload, vector in stored.values():
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
        assert payload["width"] == 96
    assert_statistics_are_true(store)


def test_second_run_loads_no_model_and_opens_no_image(photos: Path, store: VectorStore) -> None:
    index(list_images([photos]), store)
    before = contents(store)
    images = list_images([photos])
    for path in photos.iterdir():
        path.unlink()  # whoever opened one now would fail
    report = index(images, store, encoder=no_encoder)
    assert (report.seen, report.indexed, report.unchanged, report.failed) == (20, 0, 20, 0)
    assert report.images_per_second == 0
    after = contents(store)
    assert {path: payload for path, (payload, _) in after.items()} == {
        path: payload for path, (payload, _) in before.items()
    }


def test_run_that_finds_nothing_new_never_imports_torch(photos: Path, embedded: str) -> None:
    opened = open_store(embedded, "photos")
    index(list_images([photos]), opened)
    opened.close()
    program = (
        "import sys\n"
        "from t2c_search.indexing.embedder import LocalEmbedder\n"
        "from t2c_search.indexing.pipeline import Run, index_images\n"
        "from t2c_search.sources import list_images\n"
        "from t2c_search.stores import open_store\n"
        "run = Run(open_store(sys.argv[1], 'photos'), None)\n"
        "report = index_images(list_images([sys.argv[2]]), run, LocalEmbedder())\n"
        "print(report.unchanged, 'torch' in sys.modules)\n"
    )
    arguments = [sys.executable, "-c", program, embedded, str(photos)]
    assert subprocess.run(arguments, check=True, capture_output=True, text=True).stdout == "20 False\n"


@both_stores
def test_new_and_changed_files_are_embedded_and_the_rest_is_not(photos: Path, store: VectorStore) -> None:
    index(list_images([photos]), store)
    save_pictures(photos, 2, first=20)
    picture(99).save(photos / "0003.jpg", quality=70)
    report = index(list_images([photos]), store)
    assert (report.indexed, report.updated, report.unchanged) == (3, 0, 19)
    assert_same(store, fresh(photos))
    assert_statistics_are_true(store)


def test_touched_file_with_the_same_content_is_unchanged(photos: Path, store: VectorStore) -> None:
    index(list_images([photos]), store)
    os.utime(photos / "0005.jpg", ns=(1, 10**18))
    report = index(list_images([photos]), store, encoder=no_encoder)
    assert (report.indexed, report.updated, report.unchanged) == (0, 0, 20)
    assert contents(store)[(photos / "0005.jpg").as_posix()][0]["mtime_ns"] == 10**18


def test_changed_file_of_the_same_size_is_found_by_its_time(photos: Path, store: VectorStore) -> None:
    for seed, name in ((1, "same.bmp"), (2, "other.bmp")):
        picture(seed).save(photos / name)
    index(list_images([photos]), store)
    picture(3).save(photos / "same.bmp")
    os.utime(photos / "same.bmp", ns=(1, 10**18))
    report = index(list_images([photos]), store)
    assert (report.indexed, report.unchanged) == (1, 21)
    assert_same(store, fresh(photos))
    assert_statistics_are_true(store)


@both_stores
def test_changed_captions_and_fields_update_payloads_without_a_model(photos: Path, store: VectorStore) -> None:
    (photos / "0001.txt").write_text("a dog")
    table = photos / "captions.csv"
    table.write_text("image,caption\n0002.jpg,a cat\n")
    index(list_images([photos], captions=table), store)
    (photos / "0001.txt").write_text("a wet dog")
    (photos / "0003.json").write_text('{"rating": 5, "place": {"city": "Ghent"}}')
    report = index(list_images([photos]), store, encoder=no_encoder)
    assert (report.indexed, report.updated, report.unchanged) == (0, 2, 18)
    stored = {Path(path).name: payload for path, (payload, _) in contents(store).items()}
    assert stored["0001.jpg"]["captions"] == ["a wet dog"]
    assert stored["0002.jpg"]["captions"] == ["a cat"]  # no table this time is no reason to forget
    assert (stored["0003.jpg"]["rating"], stored["0003.jpg"]["place"]) == (5, {"city": "Ghent"})
    assert index(list_images([photos]), store, encoder=no_encoder).unchanged == 20


def test_fields_given_before_outlive_a_change_of_the_picture(photos: Path, store: VectorStore) -> None:
    table = photos / "captions.csv"
    table.write_text("image,caption,split\n0002.jpg,a cat,test\n")
    index(list_images([photos], captions=table), store)
    picture(77, (120, 64)).save(photos / "0002.jpg")
    assert index(list_images([photos]), store).indexed == 1
    payload, _ = contents(store)[(photos / "0002.jpg").as_posix()]
    assert (payload["captions"], payload["split"], payload["width"]) == (["a cat"], "test", 120)


def test_native_vectors_are_kept_as_the_model_gives_them(photos: Path) -> None:
    store = create(open_store(":memory:", "photos"), native=True)
    index(list_images([photos]), store)
    (points,) = store.scan(vectors=(CLIP, NATIVE))
    native, unit = points.vectors[NATIVE], points.vectors[CLIP]
    assert np.abs(np.linalg.norm(native, axis=1) - 1).min() > 0.1
    np.testing.assert_allclose(native / np.linalg.norm(native, axis=1, keepdims=True), unit, atol=1e-6)


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    """One good photograph, one turned, one HEIC, and one of everything that goes wrong."""
    folder = tmp_path / "faults"
    folder.mkdir()
    upright = picture(1, (640, 480))
    upright.save(folder / "good.jpg", quality=100, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", quality=100, subsampling=0, exif=exif)
    upright.save(folder / "phone.heic", quality=95)
    (folder / "truncated.jpg").write_bytes((folder / "good.jpg").read_bytes()[:-2000])
    (folder / "zero.png").touch()
    (folder / "text.jpg").write_text("not a picture\n")
    (folder / "bomb.png").write_bytes(png_header(30_000, 30_000))
    (folder / "unreadable.jpg").symlink_to(folder / "nowhere")
    return folder


REASONS = {
    "bomb.png": "the image is larger than the limit of 250 megapixels",
    "text.jpg": "not an image of a known format",
    "truncated.jpg": "the image cannot be decoded: image file is truncated",
    "unreadable.jpg": "the file cannot be read: No such file or directory",
    "zero.png": "the file is empty",
}


def by_name(failures: list[Failure] | tuple[Failure, ...]) -> dict[str, str]:
    return {Path(failure.path).name: failure.reason for failure in failures}


@both_stores
def test_every_fault_is_reported_and_stops_nothing(faults: Path, store: VectorStore) -> None:
    report = index(list_images([faults]), store, batch_size=2)
    assert (report.seen, report.indexed, report.failed, report.all_failed) == (8, 3, 5, False)
    for failures in (by_name(report.failures), by_name(read_failures(store))):
        assert failures.keys() == REASONS.keys()
        for name, reason in REASONS.items():
            assert failures[name].startswith(reason)
    stored = {Path(path).name: found for path, found in contents(store).items()}
    for name in ("good.jpg", "turned.jpg", "phone.heic"):
        payload, vector = stored[name]
        assert (payload["width"], payload["height"]) == (640, 480)
        assert vector @ stored["good.jpg"][1] > 0.98
    np.testing.assert_allclose(stored["turned.jpg"][1], stored["good.jpg"][1], atol=1e-3)
    document = report.to_json()
    assert document["failed"] == 5
    assert {Path(failure["path"]).name for failure in document["failures"]} == REASONS.keys()


def test_failures_are_remembered_until_they_are_mended(faults: Path, store: VectorStore) -> None:
    index(list_images([faults]), store)
    picture(5).save(faults / "zero.png")
    report = index(list_images([faults / "zero.png"]), store)
    assert report.indexed == 1
    assert by_name(read_failures(store)).keys() == REASONS.keys() - {"zero.png"}
    report = index(list_images([faults]), store)
    assert (report.indexed, report.unchanged, report.failed) == (0, 4, 4)
    assert by_name(read_failures(store)).keys() == REASONS.keys() - {"zero.png"}


def test_picture_that_became_unreadable_fails_and_its_point_stays(photos: Path, store: VectorStore) -> None:
    index(list_images([photos]), store)
    path = photos / "0004.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    report = index(list_images([photos]), store)
    assert (report.indexed, report.unchanged, report.failed) == (0, 19, 1)
    assert store.count() == 20
    assert_statistics_are_true(store)


def test_vector_that_is_not_finite_is_a_failure(photos: Path, store: VectorStore) -> None:
    class Overflowing(TinyEncoder):
        def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
            rows = super().encode_images(batch)
            rows[0] = torch.inf
            return rows

    report = index(list_images([photos]), store, encoder=Overflowing, batch_size=10)
    assert (report.indexed, report.failed) == (18, 2)
    assert all("not finite" in failure.reason for failure in report.failures)
    assert store.count() == 18
    assert_statistics_are_true(store)


def test_progress_counts_every_input_once(faults: Path, photos: Path, store: VectorStore) -> None:
    class Counting:
        done = 0

        def __init__(self) -> None:
            self.failures: list[Failure] = []
            self.started: list[tuple[str, int | None]] = []

        def start(self, total: int | None, stage: str) -> None:
            self.started.append((stage, total))

        def advance(self, images: int) -> None:
            self.done += images

        def fail(self, failure: Failure) -> None:
            self.failures.append(failure)

    index(list_images([photos]), store)
    listing, progress = Counting(), Counting()
    report = index(list_images([photos, faults], progress=listing), store, progress=progress)
    assert (listing.started, listing.done) == ([("listing images", None)], 28)
    assert (progress.started, progress.done) == ([("indexing", 28)], 28)
    assert tuple(progress.failures) == report.failures


def test_run_in_which_everything_failed_says_so(faults: Path, store: VectorStore) -> None:
    report = index(list_images([faults / "zero.png", faults / "text.jpg"]), store)
    assert (report.indexed, report.failed, report.all_failed) == (0, 2, True)
    assert IndexReport.of_failures(report.failures).to_json()["failed"] == 2
    assert not index(list_images([faults / "good.jpg"]), store).all_failed


@pytest.mark.parametrize("fault", ["dirty", "miscounted", "damaged"])
def test_statistics_that_went_stale_are_counted_anew(photos: Path, store: VectorStore, fault: str) -> None:
    index(list_images([photos]), store)
    other = VectorStatistics(12)
    other.add([str(uuid.uuid4()) for _ in range(20)], np.ones((20, 12), np.float32))
    if fault == "dirty":
        store.write_blob("statistics", other.to_bytes())
        store.write_blob("statistics-state", b"dirty")
    elif fault == "miscounted":
        other.add([str(uuid.uuid4())], np.ones((1, 12), np.float32))
        store.write_blob("statistics", other.to_bytes())
    else:
        store.write_blob("statistics", other.to_bytes()[:100])
    assert index(list_images([photos]), store, encoder=no_encoder).unchanged == 20
    assert_statistics_are_true(store)


class ClosesTheStore:
    """The store goes away under the run once it holds some images."""

    def __init__(self, store: VectorStore) -> None:
        self.store = store
        self.open = True

    def start(self, total: int | None, stage: str) -> None: ...

    def fail(self, failure: Failure) -> None: ...

    def advance(self, images: int) -> None:
        if self.open and images:
            while self.store.count() == 0:
                pass
            self.store.close()
            self.open = False


def test_store_that_fails_stops_the_run_and_the_next_one_completes_it(photos: Path, embedded: str) -> None:
    store = open_store(embedded, "photos")
    with pytest.raises(StoreError):
        index(list_images([photos]), store, batch_size=2, progress=ClosesTheStore(store))
    store = open_store(embedded, "photos")
    assert 0 < store.count() < 20
    assert CLAIMS.read(store).open
    report = index(list_images([photos]), store)
    assert 0 < report.unchanged < 20
    assert_same(store, fresh(photos))
    assert_statistics_are_true(store)
    store.close()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_runs_lose_nothing_acknowledged_and_end_with_the_same_collection(tmp_path: Path, embedded: str) -> None:
    photos = tmp_path / "photos"
    save_pictures(photos, 160)
    (photos / "0007.jpg").write_bytes(b"")
    for wanted in (1, 50):  # points that the store must hold before the signal
        script = [sys.executable, str(Path(__file__).with_name("kill_me.py")), embedded, str(photos)]
        with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            acknowledged = next(count for line in run.stdout if (count := int(line)) >= wanted)
            run.kill()
        assert run.returncode == -signal.SIGKILL
        store = open_store(embedded, "photos")
        kept = store.count()
        assert kept >= acknowledged
        store.close()
    store = open_store(embedded, "photos")
    report = index(list_images([photos]), store)
    assert (report.indexed, report.unchanged, report.failed) == (159 - kept, kept, 1)
    assert_same(store, fresh(photos))
    assert_statistics_are_true(store)
    store.close()


def test_embedded_store_takes_every_payload_index(photos: Path, tmp_path: Path) -> None:
    (photos / "0001.txt").write_text("a dog\nin the snow")
    store = create(open_store(str(tmp_path / "photos.t2c"), "photos"))
    index(list_images([photos]), store)
    assert store.count(TextMatch(field="captions", text="snow")) == 1
    assert store.facet("format") == [("JPEG", 20)]
    assert dict(store.facet("folders"))["photos"] == 20
    store.close()
