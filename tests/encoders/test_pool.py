"""Encoders that are shared are loaded once, run one call at a time, and are never those of former files."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from t2c_search.encoders import loading, registry
from t2c_search.encoders.pool import ModelPool, default_pool, exclusive
from t2c_search.errors import EncoderError
from tests.encoders import tiny
from tests.encoders.recorder import install_recorder

THREADS = 8


@pytest.fixture
def model(tmp_path: Path) -> str:
    return tiny.save_timm(tmp_path / "model", "test_resnet", seed=0)


def at_once(function: object, count: int = THREADS) -> list[object]:
    """Call a function in many threads that all start together."""
    start = threading.Barrier(count)
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda number: (start.wait(), function(number))[1], range(count)))


def test_an_encoder_is_loaded_once_for_all_who_ask_for_the_same(model: str, tmp_path: Path) -> None:
    pool = ModelPool()
    first = pool.load(model, device="cpu")
    assert pool.load(model, device="cpu") is first
    for other in ({"device": "auto"}, {"device": "cpu", "dtype": "bfloat16"}, {"device": "cpu", "compile": True}):
        assert pool.load(model, **other) is not first
    assert ModelPool().load(model, device="cpu") is not first


def test_every_spelling_of_a_folder_is_the_same_encoder_and_another_folder_is_not(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ModelPool()
    first = pool.load(model)
    monkeypatch.chdir(tmp_path)
    assert pool.load("timm:local-dir:model") is first
    assert pool.load(first.id) is first
    stages = pool.load("timm:local-dir:model?layers=2")
    assert stages is not first
    assert pool.load(f"{first.id}?layers=2") is stages
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "model", tmp_path / "elsewhere" / "model")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pool.load("timm:local-dir:model").id == f"timm:local-dir:{tmp_path}/elsewhere/model"


def test_threads_that_ask_for_the_same_get_the_same(model: str) -> None:
    pool = ModelPool()
    assert len({id(encoder) for encoder in at_once(lambda _: pool.load(model))}) == 1


def test_what_nobody_has_asked_for_longest_goes(tmp_path: Path) -> None:
    pool = ModelPool(kept=2)
    ids = [tiny.save_precomputed(tmp_path / name, {"a.jpg": np.ones(3)}, {}) for name in "abc"]
    first, second = pool.load(ids[0]), pool.load(ids[1])
    assert pool.load(ids[0]) is first
    third = pool.load(ids[2])
    assert pool.load(ids[0]) is first
    assert pool.load(ids[2]) is third
    assert pool.load(ids[1]) is not second


def test_clear_lets_go_of_all(model: str) -> None:
    pool = ModelPool()
    first = pool.load(model)
    pool.clear()
    assert pool.load(model) is not first


def test_in_another_process_a_pool_is_that_processs_own() -> None:
    assert pickle.loads(pickle.dumps(ModelPool())) is default_pool()


@pytest.mark.parametrize("kind", ["timm", "open_clip", "st", "precomputed"])
def test_a_folder_whose_files_changed_is_loaded_anew(kind: str, tmp_path: Path) -> None:
    def save(name: str, seed: int) -> str:
        rows = np.random.default_rng(seed).standard_normal((1, 4)).astype(np.float32)
        match kind:
            case "timm":
                return tiny.save_timm(tmp_path / name, "test_resnet", seed)
            case "open_clip":
                return tiny.save_open_clip(tmp_path / name, seed)
            case "st":
                return tiny.save_st_images(tmp_path / name, seed)
        return tiny.save_precomputed(tmp_path / name, {"a.jpg": rows[0]}, {})

    pool = ModelPool()
    encoder_id = save("model", seed=0)
    former = pool.load(encoder_id, device="cpu")
    before = former.fingerprint
    save("other", seed=1)
    for file in (tmp_path / "other").iterdir():  # of the same size
        file.replace(tmp_path / "model" / file.name)
    renewed = pool.load(encoder_id, device="cpu")
    assert renewed is not former
    assert renewed.fingerprint.weights != before.weights
    assert pool.load(encoder_id, device="cpu") is renewed


def test_a_users_module_that_changed_is_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    pool = ModelPool()
    encoder_id = tiny.save_factory(tmp_path, "backbone_that_changes", seed=0)
    former = pool.load(encoder_id, device="cpu")
    assert pool.load(encoder_id, device="cpu") is former
    tiny.save_factory(tmp_path, "backbone_that_changes", seed=1234)
    renewed = pool.load(encoder_id, device="cpu")
    assert renewed.fingerprint.weights != former.fingerprint.weights
    assert pool.load(encoder_id, device="cpu") is renewed


def test_a_model_that_is_gone_is_not_served(model: str, tmp_path: Path) -> None:
    pool = ModelPool()
    pool.load(model)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(registry.UnknownEncoderError, match="there is no folder"):
        pool.load(model)


@pytest.fixture
def recorders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the kind ``recorder``."""
    install_recorder(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("recorders")
@pytest.mark.parametrize("sides", [("texts",), ("images",), ("texts", "images")])
def test_threads_never_meet_in_an_encoder(sides: tuple[str, ...]) -> None:
    import torch

    encoder = ModelPool().load("recorder:one", device="cpu")

    def use(number: int) -> None:
        for _ in range(3):
            if sides[number % len(sides)] == "texts":
                encoder.encode_texts(["a dog"])
            else:
                encoder.encode_images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))

    at_once(use)
    assert encoder.most == 1


@pytest.mark.usefixtures("recorders")
def test_who_holds_an_encoder_for_several_calls_is_alone_in_it() -> None:
    encoder = ModelPool().load("recorder:one", device="cpu")
    seen: list[str] = []
    asked, turn = threading.Event(), threading.Lock()

    def other() -> None:
        asked.set()
        encoder.encode_texts(["theirs"])
        with turn:
            seen.append("theirs")

    with ThreadPoolExecutor(1) as threads:
        with exclusive(encoder):
            done = threads.submit(other)
            asked.wait()
            for _ in range(3):
                encoder.encode_texts(["ours"])
                with turn:
                    seen.append("ours")
        done.result()
    assert seen == ["ours"] * 3 + ["theirs"]
    with exclusive(registry.load("recorder:alone")):
        pass


@pytest.mark.usefixtures("recorders")
def test_device_precision_and_compiling_reach_the_loader() -> None:
    encoder = ModelPool().load("recorder:one", device="cpu", dtype="float16", compile=True)
    assert (encoder.dtype, encoder.compiled) == ("float16", True)
    with pytest.raises(EncoderError, match="a Slotted, which has __slots__ only"):
        ModelPool().load("recorder:slotted")


def test_a_shared_encoder_fulfils_its_protocols(tmp_path: Path) -> None:
    from t2c_search.encoders.protocols import DualEncoder, PixelEncoder, TextEncoder

    encoder = ModelPool().load(tiny.save_open_clip(tmp_path / "clip", seed=0), device="cpu")
    for protocol in (PixelEncoder, TextEncoder, DualEncoder):
        assert isinstance(encoder, protocol)


def test_overlapping_loads_leave_the_hubs_switch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one begins while the first has the switch turned, and ends after it."""
    waits, first_in, go_on = threading.Event(), threading.Event(), threading.Event()

    class Telling:
        """The lock, which tells when a second thread asks for it."""

        def __init__(self) -> None:
            self.lock = threading.RLock()

        def __enter__(self) -> None:
            if first_in.is_set():
                waits.set()
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()

    monkeypatch.setattr(loading, "LOADING", Telling())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(loading, "_reachable", lambda endpoint: False)
    during: list[bool] = []

    def first() -> None:
        with loading.loading("timm:one", "", from_hub=True):
            during.append(constants.HF_HUB_OFFLINE)
            first_in.set()
            go_on.wait(20)

    def second() -> None:
        with loading.loading("timm:two", "", from_hub=True):
            during.append(constants.HF_HUB_OFFLINE)

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(first)
        assert first_in.wait(20)
        two = threads.submit(second)
        came = waits.wait(20)
        go_on.set()
        one.result()
        two.result()
    assert came, "nothing holds the second load back"
    assert during == [True, True]
    assert constants.HF_HUB_OFFLINE is False
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # untouched: it is read at import only
