"""Indexing on Ray, on this machine's processors: the same collection as without it, whichever worker is killed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from t2c_search.collection import open_collection
from t2c_search.collection.fitting import choose_sample, fit_on_images
from t2c_search.encoders import registry
from t2c_search.errors import EncoderError, UnknownEncoderError, UsageError
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pairs import PairModels
from t2c_search.indexing.pipeline import Run
from t2c_search.indexing.ray import crew
from t2c_search.indexing.ray import embedder as on_workers
from t2c_search.indexing.ray.cluster import Cluster, Placement, check_address, place
from t2c_search.indexing.ray.embedder import RayEmbedder
from t2c_search.profile import DECODE, EMBED, LOAD
from t2c_search.progress import Monitor
from t2c_search.sources import ImageInput, list_images
from t2c_search.state.failures import read_failures
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import FACTORS
from tests.stubs.rest import QdrantStub

from .on_ray import Deadly, Stuck, load_deadly, load_deadly_pair, load_pair, load_tiny, on_ray, save_vectors
from .support import TinyEncoder, assert_same, create, index, picture, save_pictures
from .test_index import assert_statistics_are_true, no_encoder

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so it is called; else every other program here goes first
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install t2c-search[ray]")

ROOT = Path(__file__).parents[2]
needs_kill = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two worker processes on this machine."""
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    ray.init("local", num_cpus=2, object_store_memory=100 << 20, **options)
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures, and a file that is none."""
    save_pictures(tmp_path / "photos", 20)
    (tmp_path / "photos" / "empty.jpg").touch()
    return tmp_path / "photos"


@pytest.fixture
def store(cluster: None) -> Iterator[VectorStore]:
    """An empty collection on a server, which the workers write to."""
    with QdrantStub() as stub:
        opened = create(open_store(stub.url, "photos"), indexes={})
        yield opened
        opened.close()


def in_this_process(photos: Path) -> VectorStore:
    fresh = create(open_store(":memory:", "photos"))
    index(list_images([photos]), fresh)
    return fresh


def test_workers_make_the_same_collection(photos: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    users = ray.data.DataContext.get_current()
    monkeypatch.setattr(users, "target_max_block_size", 12345)
    monkeypatch.setattr(users.execution_options, "preserve_order", True)
    before = {name: repr(value) for name, value in vars(users).items()}
    levels = [handler.level for handler in logging.getLogger("ray.data").handlers]
    report = on_ray(list_images([photos]), store)
    assert (report.seen, report.indexed, report.unchanged, report.failed) == (21, 20, 0, 1)
    assert_same(store, in_this_process(photos))
    assert_statistics_are_true(store)
    assert [failure.reason for failure in read_failures(store)] == ["the file is empty"]
    assert ray.data.DataContext.get_current() is users
    assert {name: repr(value) for name, value in vars(users).items()} == before
    assert [handler.level for handler in logging.getLogger("ray.data").handlers] == levels


@needs_kill
def test_images_that_kill_every_worker_are_failures(
    photos: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in one part, while another is worked on."""
    monkeypatch.setattr(on_workers, "_BATCHES", 1)
    deadly = ("0002.jpg", "0005.jpg")
    load = partial(load_deadly, Deadly, [photos / name for name in deadly])
    report = on_ray(list_images([photos]), store, load, batch_size=8)
    assert (report.indexed, report.failed) == (18, 3)
    died = {failure.path[-8:] for failure in report.failures if "twice" in failure.reason}
    assert died == set(deadly)
    assert {failure.reason for failure in report.failures} == {
        "the file is empty",
        "the process that worked on it died, twice",
    }
    for name in deadly:
        (photos / name).unlink()
    assert_same(store, in_this_process(photos))
    assert_statistics_are_true(store)


@needs_kill
def test_worker_killed_from_outside_loses_nothing(photos: Path, store: VectorStore, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def kill() -> None:
        while not marker.exists():
            time.sleep(0.01)
        os.kill(int(marker.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    report = on_ray(list_images([photos]), store, partial(load_deadly, Stuck, [photos / "0009.jpg"], str(marker)))
    killer.join()
    assert (report.seen, report.indexed, report.failed) == (21, 20, 1)
    assert_same(store, in_this_process(photos))
    assert_statistics_are_true(store)


def test_images_are_written_before_the_last_is_listed(
    photos: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_workers, "_BATCHES", 1)
    (photos / "empty.jpg").unlink()
    inputs, written = list_images([photos]), []

    def listed() -> Iterator[ImageInput]:
        yield from inputs[:-1]
        written.append(store.count())
        yield inputs[-1]

    with Run(store, load_tiny) as run:
        RayEmbedder(Cluster(), Batching(1)).embed(listed(), run)
    assert store.count() == 20
    assert written[0] >= 16  # of 19: at most three parts of one image were under way


@needs_kill
def test_nothing_is_said_and_nothing_is_left_and_nothing_is_lost(photos: Path, tmp_path: Path) -> None:
    """Not even of a worker that dies, with Ray started for the run, and a store that only the run's process may open."""
    (tmp_path / "here").mkdir()
    location = str(tmp_path / "photos.t2c")
    done = subprocess.run(
        [sys.executable, "-m", "tests.indexing.on_ray", str(photos), location, str(tmp_path / "marker"), "17"],
        cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 17)
    assert (tmp_path / "marker").exists()
    assert not list((tmp_path / "here").iterdir())
    store = open_store(location, "photos")
    assert_same(store, in_this_process(photos))
    assert_statistics_are_true(store)
    store.close()


def test_renamed_files_and_copies_take_over_vectors_beside_what_is_new_or_changed(
    photos: Path, store: VectorStore
) -> None:
    index(list_images([photos]), store)
    (photos / "empty.jpg").unlink()
    (photos / "0003.jpg").rename(photos / "moved.jpg")
    shutil.copy(photos / "0004.jpg", photos / "copy.jpg")
    report = on_ray(list_images([photos]), store, load=no_encoder)
    assert (report.renamed, report.copied, report.indexed, report.unchanged) == (1, 1, 0, 19)
    save_pictures(photos, 3, first=30)
    (photos / "0005.jpg").rename(photos / "moved-too.jpg")
    picture(99).save(photos / "0006.jpg", quality=70)
    report = on_ray(list_images([photos]), store)
    assert (report.renamed, report.indexed, report.unchanged) == (1, 4, 19)
    assert_same(store, in_this_process(photos))
    assert_statistics_are_true(store)


def test_nothing_new_starts_no_worker(photos: Path, store: VectorStore) -> None:
    index(list_images([photos]), store)
    (photos / "empty.jpg").unlink()
    assert on_ray(list_images([photos]), store, load=no_encoder).unchanged == 20


def test_model_that_cannot_be_loaded_ends_the_run(photos: Path, store: VectorStore) -> None:
    with pytest.raises(UnknownEncoderError, match="^no encoder kind 'nothing' in 'nothing:at-all'"):
        on_ray(list_images([photos]), store, load=partial(registry.load, "nothing:at-all"))


@needs_kill
def test_workers_that_die_at_the_start_end_the_run(
    photos: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_DEATHS", 1)
    with pytest.raises(EncoderError, match="^the worker processes die, [34] in a row"):
        on_ray(list_images([photos]), store, load=partial(os._exit, 1))
    assert store.count() == 0


@pytest.mark.filterwarnings("ignore:.*shows nothing of its inside")  # masked images are what is made of a module
def test_collection_is_the_same_with_its_models_and_aligner(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "photos", 40)
    clip = save_vectors(tmp_path / "clip", [f"{number:04d}.jpg" for number in range(40)])
    models = {"clip": clip, "backbone": "torch:tests.indexing.on_ray:make_backbone", "device": "cpu"}
    options = {"fit_pairs": 20, "batch_size": 4, "keep_native": True, "explainable": True}
    monkeypatch.setenv("T2C_QDRANT_API_KEY", "secret")  # of this process, not of Ray's
    with QdrantStub(api_key="secret") as stub, open_collection("photos", stub.url, **models) as images:
        report = images.index([tmp_path / "photos"], engine="ray", **options)
        assert (report.seen, report.indexed, report.failed) == (40, 40, 0)
        with open_collection("photos", ":memory:", **models) as others:
            others.index([tmp_path / "photos"], **options)
            assert_same(images.store, others.store)
            for points in images.store.scan(vectors=(FACTORS,)):
                assert all(len(codes) for codes in points.multivectors[FACTORS])
        (tmp_path / "photos" / "0007.jpg").unlink()
        report = images.index([tmp_path / "photos"], engine="ray", sync=True)
        assert (report.indexed, report.unchanged, report.deleted) == (0, 39, 1)
        assert images.store.count() == 39


class NeverRun(TinyEncoder):
    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        raise AssertionError("an image went through a model in the caller's process")


@needs_kill
def test_aligner_is_the_same_though_a_worker_dies_and_no_image_goes_through_a_model_here(
    photos: Path, tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_workers, "_SHARES", 4)  # several calls for each worker
    save_pictures(photos, 40, first=20)
    batching, sample, monitor = Batching(4, 1), choose_sample(list_images([photos]), 50), Monitor()
    here = fit_on_images(sample, PairModels(*load_pair(), load_pair), LocalEmbedder(batching), criterion="r2")
    deadly = Path(here.embedded[3].payloads[1]["path"])  # ids, and so the sample, depend on where the images lie
    models = PairModels(NeverRun(), NeverRun(1), partial(load_deadly_pair, [deadly], str(tmp_path / "marker")))
    embedder = RayEmbedder(Cluster(), batching)
    there = fit_on_images(sample, models, embedder, criterion="r2", monitor=monitor)
    stages = {stage.name for stage in monitor.clock.profile().stages}
    assert {f"workers: {stage}" for stage in (LOAD, DECODE, EMBED)} <= stages
    assert (tmp_path / "marker").exists()
    assert here.aligner is not None
    assert there.aligner is not None
    assert there.aligner.report.pairs == here.aligner.report.pairs
    assert there.aligner.report.strength == here.aligner.report.strength
    for part in ("weight", "bias", "axis"):
        torch.testing.assert_close(getattr(there.aligner, part), getattr(here.aligner, part), atol=1e-4, rtol=0)
    assert sorted(failure.path for failure in there.failures) == sorted(failure.path for failure in here.failures)
    rows = [
        {image: row for batch in made.embedded for image, row in zip(batch.ids, batch.vectors[0], strict=True)}
        for made in (here, there)
    ]
    assert rows[0].keys() == rows[1].keys()
    for image, row in rows[0].items():
        torch.testing.assert_close(rows[1][image], row)


@pytest.mark.parametrize("missing", ["ray", "ray.data"])
def test_missing_ray_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    save_pictures(tmp_path / "photos", 1)
    monkeypatch.setitem(sys.modules, missing, None)
    with open_collection("photos", ":memory:") as images:
        with pytest.raises(UsageError, match=r"pip install t2c-search\[ray\]"):
            images.index([tmp_path / "photos"], engine="ray")
        assert images.card is None


@pytest.mark.parametrize(
    ("nodes", "threads", "use_gpus", "placement"),
    [
        ([{"CPU": 2.0}], None, True, Placement(2, 1, 0)),
        ([{"CPU": 16.0}, {"CPU": 7.0}, {}], 4, False, Placement(5, 4, 0)),
        ([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 64.0}], None, True, Placement(5, 4, 1)),
        ([{"CPU": 16.0, "GPU": 4.0}], 8, True, Placement(2, 8, 1)),
        ([{"CPU": 16.0, "GPU": 4.0}], None, False, Placement(16, 1, 0)),
    ],
)
def test_workers_fit_the_machines(
    nodes: list[dict[str, float]], threads: int | None, use_gpus: bool, placement: Placement
) -> None:
    assert place(nodes, threads, use_gpus) == placement


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:x", "ray://127.0.0.1:1"])
def test_address_where_nothing_listens_is_said(address: str) -> None:
    with pytest.raises(UsageError, match=f"^no Ray cluster answers at '{address}'"):
        check_address(address)


def test_client_of_a_cluster_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_address(address)
        with pytest.raises(UsageError, match=f"^Ray's client at 'ray://{address}' cannot be used"):
            check_address(f"ray://{address}")


def test_no_room_for_a_worker_is_said() -> None:
    with pytest.raises(UsageError, match="no machine of the Ray cluster has 8 processors"):
        place([{"CPU": 4.0}, {"CPU": 7.0}], 8, use_gpus=False)
