"""What fitting an aligner leaves for indexing: the backbone's rows of the sample, where they are what it makes alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from t2c_search.collection import fitting
from t2c_search.collection.fitting import Fitted, choose_sample, fit_on_images
from t2c_search.encoders import registry
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.embedding import embed
from t2c_search.indexing.pairs import PairModels
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.profile import DECODE
from t2c_search.sources import ImageList, list_images
from t2c_search.stores import open_store
from t2c_search.types import CLIP, Failure, Fingerprint
from tests.encoders import tiny
from tests.indexing.support import TinyEncoder, assert_same, create, index, note_reads, save_pictures

IMAGES = 40


class TinyClip(TinyEncoder):
    fingerprint = Fingerprint("another", "box-16")

    def __init__(self, decode_size: int = 8) -> None:
        super().__init__(seed=1)
        self.decode_size = decode_size


class NeverRun(TinyEncoder):
    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        raise AssertionError("everything but the empty file is embedded already")


@pytest.fixture
def photos(tmp_path: Path) -> ImageList:
    save_pictures(tmp_path, IMAGES)
    (tmp_path / "0003.jpg").write_bytes(b"")
    return list_images([tmp_path])


def fitted(photos: ImageList, clip: TinyClip, pairs: int = 30) -> Fitted:
    models = PairModels(TinyEncoder(), clip, no_models)
    return fit_on_images(choose_sample(photos, pairs), models, LocalEmbedder(Batching(8, 2)), criterion="r2")


def no_models() -> Any:
    raise AssertionError("the models are loaded already")


def never(failure: Failure) -> None:
    raise AssertionError(failure)


def test_the_samples_rows_are_those_of_the_backbone_alone(photos: ImageList) -> None:
    made = fitted(photos, TinyClip())
    rows = {image: row for batch in made.embedded for image, row in zip(batch.ids, batch.vectors[0], strict=True)}
    assert len(rows) == 30 - len(made.failures)
    sampled = [item for item in photos if item.id in rows]
    for batch in embed(sampled, (TinyEncoder(),), batching=Batching(8), on_failure=never):
        for image, row in zip(batch.ids, batch.vectors[0], strict=True):
            torch.testing.assert_close(row, rows[image])


def test_nothing_is_kept_of_images_decoded_larger_for_the_clip_model(photos: ImageList) -> None:
    assert fitted(photos, TinyClip(decode_size=32)).embedded == []


def test_nothing_is_kept_of_a_sample_too_large_to_hold(photos: ImageList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_KEPT_BYTES", 4 * 30 * TinyEncoder.image_dim - 1)
    assert fitted(photos, TinyClip()).embedded == []


def test_indexing_embeds_only_the_rest(photos: ImageList, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fitted(photos, TinyClip())
    seen = note_reads(monkeypatch)
    store = create(open_store(":memory:", "photos"))
    run = Run(store, lambda: (TinyEncoder(), torch.nn.functional.normalize))
    report = index_images(photos, run, LocalEmbedder(Batching(8)), embedded=made.embedded)
    sampled = {payload["path"] for batch in made.embedded for payload in batch.payloads}
    assert sampled.isdisjoint(seen)
    assert len(seen) == IMAGES - 1 - len(sampled)
    assert (report.seen, report.indexed, report.failed) == (IMAGES, IMAGES - 1, 1)
    undisturbed = create(open_store(":memory:", "fresh"))
    index(photos, undisturbed)
    assert_same(store, undisturbed)
    assert store.spec().vectors.keys() == {CLIP}


def test_a_wholly_sampled_collection_decodes_nothing_again(photos: ImageList) -> None:
    made = fitted(photos, TinyClip(), pairs=IMAGES)
    store = create(open_store(":memory:", "photos"))
    inputs = [item for item in photos if not item.path.endswith("0003.jpg")]
    run = Run(store, lambda: (NeverRun(), torch.nn.functional.normalize))
    report = index_images(inputs, run, LocalEmbedder(Batching(8)), embedded=made.embedded)
    assert report.indexed == IMAGES - 1
    assert DECODE not in {stage.name for stage in report.profile.stages}


def test_each_model_sees_the_images_by_its_own_preprocessing(photos: ImageList, tmp_path: Path) -> None:
    """The paper's public code gave CLIP the backbone's normalisation."""
    clip = registry.load_image_encoder("mini", device="cpu")
    backbone = registry.load_image_encoder(tiny.save_timm(tmp_path / "model", "test_resnet", seed=0), device="cpu")
    inputs = list(photos)[:3]
    (batch,) = embed(inputs, (backbone, clip), batching=Batching(8), on_failure=never)
    pictures = [Image.open(item.path).convert("RGB") for item in inputs]
    own, others = (torch.stack([model.prepare(picture) for picture in pictures]) for model in (clip, backbone))
    torch.testing.assert_close(batch.vectors[1], clip.encode_images(own))
    torch.testing.assert_close(batch.vectors[0], backbone.encode_images(others))
    assert not torch.allclose(batch.vectors[1], clip.embed(backbone.normalise(own)), rtol=0.1)
