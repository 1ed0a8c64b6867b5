"""Files that move, are copied, or go away: vectors follow the bytes, and nothing is deleted without proof."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t2c_search.errors import UsageError
from t2c_search.indexing.removal import absolute_roots, refuse_emptied
from t2c_search.sources import ImageInput, list_images
from t2c_search.sources.presence import is_gone
from t2c_search.state.failures import forget_gone, read_failures
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, NATIVE

from .support import (
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
    save_pictures(tmp_path / "photos", 12)
    return tmp_path / "photos"


@pytest.fixture
def store(photos: Path) -> VectorStore:
    made = create(open_store(":memory:", "photos"))
    index(list_images([photos]), made)
    return made


def fresh(photos: Path) -> VectorStore:
    made = create(open_store(":memory:", "fresh"))
    index(list_images([photos]), made)
    return made


def test_renamed_files_keep_their_vectors_and_need_no_model(photos: Path, store: VectorStore) -> None:
    before = {payload["hash"]: vector for payload, vector in contents(store).values()}
    (photos / "below").mkdir()
    for path in sorted(photos.glob("*.jpg"))[:5]:
        path.rename(photos / "below" / f"new-{path.name}")
    report = index(list_images([photos]), store, encoder=no_encoder)
    assert (report.seen, report.renamed, report.copied, report.indexed, report.unchanged) == (12, 5, 0, 0, 7)
    assert store.count() == 12
    assert_same(store, fresh(photos))
    for payload, vector in contents(store).values():
        np.testing.assert_array_equal(vector, before[payload["hash"]])
    assert_statistics_are_true(store)


def test_a_renamed_folder_is_found_from_its_new_name_alone(photos: Path, store: VectorStore) -> None:
    renamed = photos.rename(photos.with_name("pictures"))
    report = index(list_images([renamed]), store, encoder=no_encoder)
    assert (report.renamed, store.count()) == (12, 12)
    assert_same(store, fresh(renamed))


def test_what_people_wrote_moves_with_the_file_and_is_not_copied(photos: Path, store: VectorStore) -> None:
    (photos / "0001.txt").write_text("a dog")
    index(list_images([photos]), store)
    (photos / "0001.txt").unlink()
    shutil.copy(photos / "0001.jpg", photos / "copy.jpg")
    index(list_images([photos]), store, encoder=no_encoder)
    (photos / "0001.jpg").rename(photos / "moved.jpg")
    index(list_images([photos]), store, encoder=no_encoder)
    stored = {payload["name"]: payload for payload, _ in contents(store).values()}
    assert stored["moved.jpg"]["captions"] == ["a dog"]
    assert "captions" not in stored["copy.jpg"]
    assert "0001.jpg" not in stored


def test_a_copy_takes_the_vector_and_the_original_stays(photos: Path, store: VectorStore) -> None:
    shutil.copy(photos / "0003.jpg", photos / "copy.jpg")
    report = index(list_images([photos]), store, encoder=no_encoder)
    assert (report.copied, report.renamed, report.unchanged, store.count()) == (1, 0, 12, 13)
    assert_same(store, fresh(photos))
    assert_statistics_are_true(store)


def test_of_two_new_files_with_the_bytes_of_a_vanished_one_one_is_the_renamed_file(
    photos: Path, store: VectorStore
) -> None:
    shutil.copy(photos / "0003.jpg", photos / "a.jpg")
    (photos / "0003.jpg").rename(photos / "b.jpg")
    report = index(list_images([photos]), store, encoder=no_encoder)
    assert (report.copied, report.renamed, store.count()) == (1, 1, 13)
    assert_same(store, fresh(photos))


def test_a_changed_file_that_now_holds_known_bytes_is_not_embedded(photos: Path, store: VectorStore) -> None:
    (photos / "0004.jpg").replace(photos / "0005.jpg")
    report = index(list_images([photos]), store, encoder=no_encoder)
    assert (report.renamed, store.count()) == (1, 11)
    assert_same(store, fresh(photos))
    assert_statistics_are_true(store)


def test_every_vector_of_a_point_moves(photos: Path) -> None:
    store = create(open_store(":memory:", "photos"), native=True)
    index(list_images([photos]), store)
    (before,) = store.scan(vectors=(CLIP, NATIVE))
    by_hash = {payload["hash"]: row for row, payload in enumerate(before.payloads)}
    renamed = photos.rename(photos.with_name("pictures"))
    index(list_images([renamed]), store, encoder=no_encoder)
    (after,) = store.scan(vectors=(CLIP, NATIVE))
    rows = [by_hash[payload["hash"]] for payload in after.payloads]
    for name in (CLIP, NATIVE):
        np.testing.assert_array_equal(after.vectors[name], before.vectors[name][rows])


@pytest.mark.parametrize("path", ["https://example.org/a.jpg", "s3://bucket/a.jpg", "s3://bucket/a.tar::b.jpg"])
def test_images_elsewhere_are_never_taken_for_vanished_files(path: str) -> None:
    assert not is_gone(path)


@pytest.mark.parametrize("name", ["none.jpg", "none/a.jpg", "0001.jpg/inside.jpg", "0001.jpg/\ufffd.jpg", "nul\0.jpg"])
def test_what_cannot_be_there_is_gone(photos: Path, name: str) -> None:
    assert is_gone(f"{photos}/{name}")
    assert is_gone(f"{photos}/{name}.tar::a.jpg")


def test_a_name_with_a_nul_can_be_retried_synced_and_forgotten(
    photos: Path, tmp_path: Path, store: VectorStore
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"image": "photos/nul\\u0000.jpg"}')
    assert index(list_images([tmp_path / "rows.jsonl"]), store).failed == 1
    assert index(list_images([photos]), store, sync=[photos]).unchanged == 12
    assert forget_gone(store) == read_failures(store) == []
    index(list_images([tmp_path / "rows.jsonl"]), store)
    assert forget_gone(store) == []


def test_without_sync_nothing_is_deleted(photos: Path, store: VectorStore) -> None:
    (photos / "0002.jpg").unlink()
    report = index(list_images([photos]), store)
    assert (report.deleted, store.count()) == (0, 12)


def test_sync_deletes_what_is_gone_below_its_roots_only(photos: Path, tmp_path: Path, store: VectorStore) -> None:
    others = tmp_path / "photos-2"  # begins with the root's name, and lies beside it
    save_pictures(others, 3, first=50)
    index(list_images([others]), store)
    for path in (photos / "0002.jpg", photos / "0007.jpg", others / "0051.jpg"):
        path.unlink()
    report = index(list_images([photos]), store, encoder=no_encoder, sync=[photos])
    assert (report.seen, report.unchanged, report.deleted) == (10, 10, 2)
    assert {Path(path).name for path in contents(store) if "photos-2" in path} == {"0050.jpg", "0051.jpg", "0052.jpg"}
    assert_statistics_are_true(store)
    index(list_images([others]), store, sync=[others])
    assert_same(store, fresh(tmp_path))


def test_sync_lets_renamed_files_keep_their_vectors(photos: Path, store: VectorStore) -> None:
    (photos / "0002.jpg").rename(photos / "moved.jpg")
    (photos / "0003.jpg").unlink()
    report = index(list_images([photos]), store, encoder=no_encoder, sync=[photos])
    assert (report.renamed, report.deleted) == (1, 1)
    assert_same(store, fresh(photos))


def test_sync_deletes_a_file_and_a_folder_named_themselves(photos: Path, store: VectorStore) -> None:
    save_pictures(photos / "below", 3, first=20)
    index(list_images([photos]), store)
    shutil.rmtree(photos / "below")
    (photos / "0000.jpg").unlink()
    report = index([], store, sync=[photos / "below", photos / "0000.jpg", photos / "0001.jpg"])
    assert report.deleted == 4
    assert_same(store, fresh(photos))


def test_everything_gone_leaves_an_empty_collection_that_can_be_filled_again(photos: Path, store: VectorStore) -> None:
    kept = photos.rename(photos.with_name("kept"))
    assert index([], store, sync=[photos]).deleted == 12
    assert store.count() == 0
    index(list_images([kept]), store)
    assert_same(store, fresh(kept))
    assert_statistics_are_true(store)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def _to_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


@pytest.mark.parametrize("vanish", [_remove, _to_file])
def test_a_root_that_is_no_folder_is_refused(photos: Path, tmp_path: Path, vanish: Callable[[Path], None]) -> None:
    vanish(photos)
    with pytest.raises(UsageError, match="is no folder"):
        absolute_roots([tmp_path, photos])
    assert absolute_roots([os.path.relpath(tmp_path), photos / ".."]) == [tmp_path.as_posix()] * 2


def test_a_root_that_is_empty_is_refused_where_images_were_below_it(
    photos: Path, tmp_path: Path, store: VectorStore
) -> None:
    save_pictures(tmp_path / "other", 1)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for path in photos.iterdir():
        path.unlink()
    roots = [path.as_posix() for path in (tmp_path / "other", inbox, photos)]
    refuse_emptied(store, roots[:2], list_images(roots))
    with pytest.raises(UsageError, match=r"no image in .*photos.: is its disk mounted"):
        refuse_emptied(store, roots, list_images(roots))


def test_failures_of_files_that_are_gone_are_forgotten(photos: Path, store: VectorStore) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (photos / name).write_bytes(b"")
    index(list_images([photos]), store)
    (photos / "a.jpg").unlink()
    index([], store, sync=[photos])
    assert [Path(failure.path).name for failure in read_failures(store)] == ["b.jpg", "c.jpg"]
    (photos / "b.jpg").unlink()
    assert [Path(failure.path).name for failure in forget_gone(store)] == ["c.jpg"]
    assert [Path(failure.path).name for failure in read_failures(store)] == ["c.jpg"]


def test_an_image_of_unknown_size_is_unchanged_while_its_time_is(photos: Path, store: VectorStore) -> None:
    (item, *_) = list_images([photos])
    os.truncate(item.path, 10)  # whoever read it now would fail
    unknown = ImageInput(item.path, -1, item.mtime_ns)
    assert index([unknown], store, encoder=no_encoder).unchanged == 1
    picture(0).save(item.path, quality=90)
    assert index([ImageInput(item.path, -1, 1)], store, encoder=no_encoder).unchanged == 1  # read, and found the same
