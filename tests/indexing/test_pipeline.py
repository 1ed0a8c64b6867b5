import os
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, get_ident

import numpy as np
import pytest
import torch
from PIL import Image

from t2c_search.decoding.decode import decode_file
from t2c_search.errors import UnknownVectorError
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedding import EmbeddedBatch, embed
from t2c_search.sources import ImageInput, list_images
from t2c_search.stores import open_store
from t2c_search.types import Failure

from .support import TinyEncoder, assert_same, create, index, note_reads, picture, save_pictures


def never(failure: Failure) -> None:
    raise AssertionError(failure)


def rows(batches: Iterator[EmbeddedBatch]) -> tuple[list[str], torch.Tensor]:
    found = list(batches)
    ids = [image for batch in found for image in batch.ids]
    return ids, torch.cat([batch.vectors[0] for batch in found])


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (7, 3), (64, 2)])
def test_order_and_vectors_do_not_depend_on_threads_or_batches(tmp_path: Path, batch_size: int, workers: int) -> None:
    paths = save_pictures(tmp_path, 20)
    encoder = TinyEncoder()
    expected = [encoder.encode_images(encoder.prepare(decode_file(path, decode_size=16))[None]) for path in paths]
    images = list_images([tmp_path])
    ids, vectors = rows(embed(images, (encoder,), batching=Batching(batch_size, workers), on_failure=never))
    assert ids == [item.id for item in images]
    torch.testing.assert_close(vectors, torch.cat(expected), atol=1e-4, rtol=1e-5)


def test_as_many_threads_decode_as_were_asked_for(tmp_path: Path) -> None:
    """One more than processors, which is what there would be otherwise: all of them at once, and no other."""
    asked = (os.cpu_count() or 1) + 1
    save_pictures(tmp_path, 2 * asked)
    together = Barrier(asked)
    threads: list[int] = []

    class Waiting(TinyEncoder):
        def prepare(self, image: Image.Image) -> torch.Tensor:
            if get_ident() not in threads:
                threads.append(get_ident())
                together.wait(20)
            return super().prepare(image)

    images = list_images([tmp_path])
    list(embed(images, (Waiting(),), batching=Batching(len(images), asked), on_failure=never))
    assert len(threads) == asked


def test_failures_leave_no_gap_and_batches_stay_full(tmp_path: Path) -> None:
    save_pictures(tmp_path, 10)
    for name in ("0000.jpg", "0004.jpg", "0009.jpg"):
        (tmp_path / name).write_bytes(b"")
    failures: list[Failure] = []
    batches = list(
        embed(list_images([tmp_path]), (TinyEncoder(),), batching=Batching(3, 2), on_failure=failures.append)
    )
    assert [Path(failure.path).name for failure in failures] == ["0000.jpg", "0004.jpg", "0009.jpg"]
    assert [len(batch.ids) for batch in batches] == [3, 3, 1]


def test_inputs_are_taken_only_a_batch_and_two_per_thread_ahead(tmp_path: Path) -> None:
    (path,) = save_pictures(tmp_path, 1)
    taken = 0

    def endless() -> Iterator[ImageInput]:
        nonlocal taken
        while True:
            taken += 1
            yield ImageInput(str(path), 1, taken)

    batches = embed(endless(), (TinyEncoder(),), batching=Batching(10, 3), on_failure=never)
    for given in range(1, 20):
        next(batches)
        assert taken - 10 * given <= 10 + 2 * 3
    batches.close()


def test_several_encoders_share_one_reading_and_one_decoding(tmp_path: Path) -> None:
    paths = save_pictures(tmp_path, 5)

    class Watching(TinyEncoder):
        def __init__(self, which: int, size: int | None) -> None:
            super().__init__(seed=which)
            self.which, self.decode_size = which, size
            self.images: list[Image.Image] = []  # kept, so that no two can have the same identity

        def prepare(self, image: Image.Image) -> torch.Tensor:
            self.images.append(image)
            return super().prepare(image)

    opened: list[str] = []
    listening = True

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        by_name = event == "open" and arguments[1] is not None  # and not a second time, by the opener of a file object
        if listening and by_name and str(arguments[0]).endswith(".jpg"):
            opened.append(str(arguments[0]))

    one, two = Watching(0, 4), Watching(1, 32)
    images = list_images([tmp_path])
    sys.addaudithook(audit)  # cannot be taken away again, hence the flag
    batches = list(embed(images, (one, two), batching=Batching(2, 1), on_failure=never))
    listening = False
    assert [id(image) for image in one.images] == [id(image) for image in two.images]
    assert all(min(image.size) >= 2 * 32 for image in one.images)
    assert sorted(opened) == [str(path) for path in paths]
    for which in (0, 1):
        alone = TinyEncoder(which)
        expected = alone.encode_images(torch.stack([alone.prepare(image) for image in one.images]))
        torch.testing.assert_close(torch.cat([batch.vectors[which] for batch in batches]), expected)


def test_encoder_that_looks_vectors_up_gets_the_path_and_costs_no_decoding(tmp_path: Path) -> None:
    class Precomputed:
        id, image_dim = "precomputed:tiny", TinyEncoder.image_dim
        device, fingerprint = TinyEncoder.device, TinyEncoder.fingerprint

        def look_up(self, path: str) -> torch.Tensor:
            if path.endswith("0001.jpg"):
                raise UnknownVectorError("no vector of 0001.jpg; nearest: 0000.jpg")
            return torch.full((self.image_dim,), float(Path(path).stem), dtype=torch.float32)

        def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
            return batch

    paths = save_pictures(tmp_path, 3)
    paths[2].write_bytes(paths[2].read_bytes()[:-300])  # its header is whole
    failures: list[Failure] = []
    (batch,) = embed(list_images([tmp_path]), (Precomputed(),), batching=Batching(8), on_failure=failures.append)
    assert batch.vectors[0][:, 0].tolist() == [0, 2]
    assert [payload["width"] for payload in batch.payloads] == [96, 96]
    assert failures == [Failure(paths[1].as_posix(), "no vector of 0001.jpg; nearest: 0000.jpg")]


def test_batch_too_large_for_memory_is_tried_in_halves(tmp_path: Path) -> None:
    class Small(TinyEncoder):
        def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
            if len(batch) > 3:
                raise torch.OutOfMemoryError("no room for more than 3")
            return super().encode_images(batch)

    save_pictures(tmp_path, 17)
    images = list_images([tmp_path])
    ids, vectors = rows(embed(images, (Small(),), batching=Batching(8), on_failure=never))
    expected_ids, expected = rows(embed(images, (TinyEncoder(),), batching=Batching(8), on_failure=never))
    assert ids == expected_ids
    torch.testing.assert_close(vectors, expected)


def test_image_that_breaks_the_model_fails_alone(tmp_path: Path) -> None:
    class Fragile(TinyEncoder):
        def prepare(self, image: Image.Image) -> torch.Tensor:
            if image.width < image.height:
                raise IndexError("too odd")
            size = 8 if image.width == image.height else 16
            return super().prepare(image)[:, :size]

    paths = save_pictures(tmp_path, 9)
    picture(2, (64, 96)).save(paths[2])
    picture(5, (64, 64)).save(paths[5])
    failures: list[Failure] = []
    ids, _ = rows(embed(list_images([tmp_path]), (Fragile(),), batching=Batching(4), on_failure=failures.append))
    assert len(ids) == 7
    reasons = {Path(failure.path).name: failure.reason for failure in failures}
    assert reasons["0002.jpg"] == "cannot be prepared for the model: IndexError: too odd"
    assert reasons["0005.jpg"].startswith("the model failed on it: ")


def test_payload_holds_the_fields_given_beside_the_measured_ones(tmp_path: Path) -> None:
    (path,) = save_pictures(tmp_path, 1)
    item = ImageInput(str(path), 1, 17, {"captions": ["x"], "rating": 3})
    (batch,) = embed([item], (TinyEncoder(),), batching=Batching(4), on_failure=never)
    assert batch.ids == [item.id]
    (payload,) = batch.payloads
    assert (payload["captions"], payload["rating"], payload["mtime_ns"]) == (["x"], 3, 17)
    assert (payload["width"], payload["bytes"]) == (96, path.stat().st_size)


def test_rotated_photograph_has_the_vector_of_its_upright_copy(tmp_path: Path) -> None:
    upright = picture(8, (640, 480))
    upright.save(tmp_path / "upright.jpg", quality=100, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", quality=100, subsampling=0, exif=exif)
    _, vectors = rows(embed(list_images([tmp_path]), (TinyEncoder(),), batching=Batching(2), on_failure=never))
    unit = torch.nn.functional.normalize(vectors)
    np.testing.assert_allclose(unit[0], unit[1], atol=1e-3)


def test_after_a_lack_of_memory_batches_stay_as_small_as_fitted(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Small(TinyEncoder):
        def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
            sizes.append(len(batch))
            if len(batch) > 3:
                raise torch.OutOfMemoryError("no room for more than 3")
            return super().encode_images(batch)

    save_pictures(tmp_path, 40)
    ids, _ = rows(embed(list_images([tmp_path]), (Small(),), batching=Batching(16), on_failure=never))
    assert len(ids) == 40
    assert sizes[:3] == [16, 8, 4]
    assert set(sizes[3:]) == {2}


def test_one_odd_image_does_not_make_later_batches_small(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Fragile(TinyEncoder):
        def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
            sizes.append(len(batch))
            if len(sizes) == 1:
                raise RuntimeError("something else")
            return super().encode_images(batch)

    save_pictures(tmp_path, 24)
    ids, _ = rows(embed(list_images([tmp_path]), (Fragile(),), batching=Batching(8), on_failure=never))
    assert len(ids) == 24
    assert sizes == [8, 4, 4, 8, 8]


def test_what_is_added_to_a_collection_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = create(open_store(":memory:", "photos"))
    save_pictures(tmp_path, 5)
    index(list_images([tmp_path]), store)
    save_pictures(tmp_path, 200, first=5)
    reads = note_reads(monkeypatch)
    images = list_images([tmp_path])
    report = index(images, store)
    assert (report.indexed, report.unchanged) == (200, 5)
    assert sorted(reads) == [item.path for item in images[5:]]
    whole = create(open_store(":memory:", "whole"))
    index(images, whole)
    assert_same(store, whole)
