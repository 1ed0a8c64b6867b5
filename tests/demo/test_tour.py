"""The demo's pictures: whole, its own, and all of them in the collection."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from t2c_search.demo.tour import draw_pictures, require_all
from t2c_search.demo.world import draw
from t2c_search.errors import ImageError
from t2c_search.indexing.report import IndexReport
from t2c_search.types import Failure


def test_what_is_there_whole_is_kept_and_all_else_drawn_anew(tmp_path: Path) -> None:
    truths, drawn = draw_pictures(tmp_path, draw(3, 4))
    assert drawn == 4
    files = list(truths)
    assert sorted(tmp_path.iterdir()) == files
    whole = [file.read_bytes() for file in files]
    files[0].write_bytes(whole[0][:-200])  # as a killed run might have left it
    Image.new("RGB", (96, 96)).save(files[1])  # somebody else's
    kept = files[2].stat()
    again, drawn = draw_pictures(tmp_path, draw(3, 4))
    assert (list(again), drawn) == (files, 2)
    assert [file.read_bytes() for file in files] == whole
    assert files[2].stat().st_mtime_ns == kept.st_mtime_ns


def test_the_truths_are_those_of_the_scenes_alone(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    truths, _ = draw_pictures(tmp_path, draw(3, 2))
    assert [file.name for file in truths] == ["00000.png", "00001.png"]
    assert all(truths[tmp_path / f"{scene.index:05d}.png"].background == scene.truth.background for scene in draw(3, 2))


def test_scenes_that_were_not_indexed_are_told(tmp_path: Path) -> None:
    whole = IndexReport(seen=3, indexed=1, updated=0, unchanged=2, failures=(), seconds=0.0)
    require_all(whole, 3, tmp_path)
    with pytest.raises(ImageError, match="1 of 4 drawn scenes could not be indexed"):
        require_all(whole, 4, tmp_path)
    failed = IndexReport.of_failures([Failure("00001.png", "it is cut short")])
    with pytest.raises(ImageError, match=r"1 of 1 drawn .* \(00001.png: it is cut short\); delete"):
        require_all(failed, 1, tmp_path)
