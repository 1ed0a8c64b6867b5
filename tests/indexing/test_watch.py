"""Folders under watch: the names that changes have, whatever the folders were called, and files that come and go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from t2c_search.indexing.watch import Changes, watch
from t2c_search.sources import list_images

from .support import save_pictures


@pytest.fixture
def stop() -> Iterator[Event]:
    event = Event()
    yield event
    event.set()


def names_until(batches: Iterator[Changes], kind: str, name: str) -> set[str]:
    """Return the names of one kind in the batches up to the one that has this name, as a change may come in several."""
    seen: set[str] = set()
    while name not in seen:
        seen.update(getattr(next(batches), kind))
    return seen


def test_changes_have_the_names_of_a_listing_however_the_folder_is_called(
    tmp_path: Path, stop: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photo,) = save_pictures(tmp_path / "photos", 1)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (item,) = list_images(["../photos"])
    batches = watch(["../photos"], stop)
    (other,) = save_pictures(tmp_path / "photos", 1, first=1)
    assert names_until(batches, "touched", other.as_posix()) == {other.as_posix()}
    photo.unlink()
    assert names_until(batches, "gone", photo.as_posix()) == {item.path}


def test_a_name_that_is_not_utf8_ends_no_watch(tmp_path: Path, stop: Event) -> None:
    batches = watch([tmp_path], stop)
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert names_until(batches, "touched", tmp_path.as_posix()) == {tmp_path.as_posix()}
    (photo,) = save_pictures(tmp_path, 1)
    assert photo.as_posix() in names_until(batches, "touched", photo.as_posix())
