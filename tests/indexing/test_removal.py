"""What counts as gone beside plain files: members of containers, and names that stores cannot take as they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from t2c_search.sources import list_images
from t2c_search.sources.listing import list_known
from t2c_search.sources.presence import is_gone
from t2c_search.state.failures import forget_gone, read_failures
from t2c_search.stores.protocol import VectorStore
from tests.sources.kinds import as_bytes, as_tar, as_zip

from .support import COUNT, assert_statistics_are_true, contents, index, no_encoder


@pytest.mark.parametrize("make", [as_tar, as_zip, as_bytes])
def test_members_go_with_their_container(
    photos: list[Path], store: VectorStore, make: Callable[[list[Path]], Path]
) -> None:
    container = make(photos)
    loose = list_images(photos)
    index([*loose, *list_images([container])], store)
    root = container.parent
    assert index(loose, store, encoder=no_encoder, sync=[root]).deleted == 0
    container.unlink()
    assert index(loose, store, encoder=no_encoder, sync=[root]).deleted == COUNT
    assert contents(store).keys() == {path.as_posix() for path in photos}
    assert_statistics_are_true(store)


def test_an_archive_that_goes_away_by_itself_takes_its_members_along(photos: list[Path], store: VectorStore) -> None:
    tar = as_tar(photos)
    index([*list_images(photos), *list_images([tar])], store)
    tar.unlink()
    assert index([], store, sync=[tar]).deleted == COUNT  # as a watch tells it
    assert store.count() == COUNT


def test_a_renamed_archive_keeps_its_vectors(photos: list[Path], store: VectorStore) -> None:
    tar = as_tar(photos)
    index(list_images([tar]), store)
    renamed = tar.rename(tar.with_name("renamed.tar"))
    report = index(list_images([renamed]), store, encoder=no_encoder, sync=[tar.parent])
    assert (report.renamed, report.deleted, store.count()) == (COUNT, 0, COUNT)
    assert_statistics_are_true(store)


def test_a_failed_member_leaves_the_list_with_its_container(photos: list[Path], store: VectorStore) -> None:
    photos[2].write_bytes(b"no image")
    tar = as_tar(photos)
    index(list_images([tar]), store)
    (failure,) = read_failures(store)
    assert "::" in failure.path
    assert forget_gone(store) == [failure]
    tar.unlink()
    assert forget_gone(store) == read_failures(store) == []


def test_a_member_that_left_its_container_is_not_gone_for_certain(photos: list[Path]) -> None:
    assert not is_gone(f"{as_tar(photos)}::no/such/member.jpg")


@pytest.mark.parametrize("below", [b"", b"b\xe9low/"])
def test_a_name_that_is_not_utf8_is_gone_when_no_file_has_it(tmp_path: Path, store: VectorStore, below: bytes) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + below + b"caf\xe9.jpg"))
    try:
        odd.parent.mkdir(exist_ok=True)
        odd.write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (failure,) = index(list_images([tmp_path]), store).failures
    assert "\ufffd" in failure.path
    assert "rename the file" in failure.reason
    assert forget_gone(store) == [failure]
    assert index(list_known([failure.path]), store).failures == (failure,)
    odd.unlink()
    if below:
        odd.parent.rmdir()
    assert forget_gone(store) == []


def test_known_paths_are_no_patterns_and_refuse_nothing(photos: list[Path], tmp_path: Path, store: VectorStore) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(b"no archive")
    known = [
        f"{tmp_path}/gone.jpg",
        f"{tmp_path}/gone.tar::a.jpg",
        f"{cut}::a.jpg",
        f"{tmp_path}/[0-9]*.jpg",
        f"{tmp_path}/none{{1,2}}.jpg",
        "unheard-of://bucket/a.jpg",
        str(tmp_path / "a folder that went away"),
        photos[0].parent.as_posix(),
    ]
    listed = list_known(known)
    assert sorted(item.path for item in listed) == sorted([*(path.as_posix() for path in photos), *known[:-1]])
    report = index(listed, store)
    assert (report.indexed, {failure.path for failure in report.failures}) == (COUNT, set(known[:-1]))


def test_known_images_keep_what_lies_beside_them(photos: list[Path]) -> None:
    photos[1].with_suffix(".txt").write_text("a dog")
    tar = as_tar(photos)
    (item,) = list_known([photos[1].as_posix()])
    assert item == list_images([photos[1]])[0]
    members = list_images([tar])
    known = list_known([members[2].path, members[4].path])
    assert list(known) == [replace(members[at], allow_private=False) for at in (2, 4)]
