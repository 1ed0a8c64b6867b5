"""What fitting an aligner leaves for indexing: the backbone's rows of the sample, where they are what it makes alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from t2c_search.collection import fitting
from t2c_search.collection.fitting import Batching, Fitted, fit_on_images
from t2c_search.indexing.embedding import embed
from t2c_search.indexing.pipeline import index_images
from t2c_search.profile import DECODE
from t2c_search.sources import ImageList, list_images
from t2c_search.stores import open_store
from t2c_search.types import CLIP, Failure, Fingerprint
from tests.indexing.support import TinyEncoder, assert_same, create, index, note_reads, save_pictures

IMAGES = 40


class TinyClip(TinyEncoder):
    fingerprint = Fingerprint("another", "box-16")

    def __init__(self, decode_size: int = 8) -> None:
        super().__init__(seed=1)
        self.decode_size = decode_size


@pytest.fixture
def photos(tmp_path: Path) -> ImageList:
    save_pictures(tmp_path, IMAGES)
    (tmp_path / "0003.jpg").write_bytes(b"")
    return list_images([tmp_path])


def fitted(photos: ImageList, clip: TinyClip, pairs: int = 30) -> Fitted:
    return fit_on_images(
        photos, TinyEncoder(), clip, pairs=pairs, criterion="r2", batching=Batching(8, 2), progress=None
    )


def never(failure: Failure) -> None:
    raise AssertionError(failure)


def test_the_samples_rows_are_those_of_the_backbone_alone(photos: ImageList) -> None:
    made = fitted(photos, TinyClip())
    rows = {
        record.id: row for batch in made.embedded for record, row in zip(batch.records, batch.vectors[0], strict=True)
    }
    assert len(rows) == 30 - len(made.failures)
    sampled = [item for item in photos if item.id in rows]
    for batch in embed(sampled, (TinyEncoder(),), batch_size=8, on_failure=never):
        for record, row in zip(batch.records, batch.vectors[0], strict=True):
            torch.testing.assert_close(row, rows[record.id])


def test_nothing_is_kept_of_images_decoded_larger_for_the_clip_model(photos: ImageList) -> None:
    assert fitted(photos, TinyClip(decode_size=32)).embedded == []


def test_nothing_is_kept_of_a_sample_too_large_to_hold(photos: ImageList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_KEPT_BYTES", 4 * 30 * TinyEncoder.image_dim - 1)
    assert fitted(photos, TinyClip()).embedded == []


def test_indexing_embeds_only_the_rest(photos: ImageList, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fitted(photos, TinyClip())
    seen = note_reads(monkeypatch)
    store = create(open_store(":memory:", "photos"))
    report = index_images(
        photos,
        store=store,
        load_encoder=TinyEncoder,
        load_projection=lambda: torch.nn.functional.normalize,
        batch_size=8,
        embedded=made.embedded,
    )
    sampled = {record.payload["path"] for batch in made.embedded for record in batch.records}
    assert sampled.isdisjoint(seen)
    assert len(seen) == IMAGES - 1 - len(sampled)
    assert (report.seen, report.indexed, report.failed) == (IMAGES, IMAGES - 1, 1)
    undisturbed = create(open_store(":memory:", "fresh"))
    index(photos, undisturbed)
    assert_same(store, undisturbed)
    assert store.spec().vectors.keys() == {CLIP}


def test_a_wholly_sampled_collection_decodes_nothing_again(photos: ImageList) -> None:
    made = fitted(photos, TinyClip(), pairs=IMAGES)

    def no_encoder() -> TinyEncoder:
        raise AssertionError("everything but the empty file is embedded already")

    store = create(open_store(":memory:", "photos"))
    report = index_images(
        [item for item in photos if not item.path.endswith("0003.jpg")],
        store=store,
        load_encoder=no_encoder,
        load_projection=lambda: torch.nn.functional.normalize,
        batch_size=8,
        embedded=made.embedded,
    )
    assert report.indexed == IMAGES - 1
    assert DECODE not in {stage.name for stage in report.profile.stages}
