"""A run that is killed at twenty random moments, a disk that is full: nothing acknowledged is lost, the end is the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2c_search.errors import StoreFullError
from t2c_search.sources import ImageInput, list_images
from t2c_search.state.failures import read_failures
from t2c_search.stores import open_store
from t2c_search.stores.edge.disk_space import RESERVE_BYTES

from .support import assert_same, assert_statistics_are_true, create, index, picture, save_pictures

KILLS = 20
IMAGES = 400


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(IMAGES):
        picture(number, (24, 16)).save(folder / f"{number:04d}.png")
    (folder / "0007.png").write_bytes(b"")
    return folder


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_twenty_kills_at_random_moments_change_nothing(photos: Path, disk: Path) -> None:
    location = str(disk / "photos.t2c")
    create(open_store(location, "photos"), indexes={}).close()
    dice = random.Random(5)
    script = [sys.executable, str(Path(__file__).with_name("kill_me.py")), location, str(photos), "drill"]
    counts = [0]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for _ in range(KILLS):
            skipped = counts[-1]  # of the images, those that this run will find unchanged
            print(skipped + dice.randrange(15), dice.randrange(2000), file=parent.stdin, flush=True)
            assert parent.stdout.readline() == f"ended {-signal.SIGKILL}\n"
            store = open_store(location, "photos")
            counts.append(store.count())
            store.close()
        print(file=parent.stdin, flush=True)
        unchanged = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ended 0\n"
        parent.stdin.close()
    assert counts == sorted(counts)
    assert len(set(counts)) > KILLS / 2  # most runs came further
    assert unchanged == counts[-1] < IMAGES - 1
    undisturbed = create(open_store(":memory:", "fresh"))
    index(list_images([photos]), undisturbed)
    store = open_store(location, "photos")
    assert_same(store, undisturbed)
    assert_statistics_are_true(store)
    assert read_failures(store) == read_failures(undisturbed)
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_the_next_one_completes_it(small_disk: Path, tmp_path: Path) -> None:
    save_pictures(tmp_path / "photos", 40)
    inputs = [
        ImageInput(item.path, item.size, item.mtime_ns, {"captions": ["x" * (1 << 18)]})
        for item in list_images([tmp_path / "photos"])
    ]
    store = create(open_store(str(small_disk), "photos"), indexes={})
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(free - RESERVE_BYTES - (10 << 20)))
    with pytest.raises(StoreFullError, match="Make room and run the same command again"):
        index(inputs, store, batch_size=2)
    kept = store.count()
    assert 0 < kept < 40
    store.close()
    (small_disk / "ballast").unlink()
    store = open_store(str(small_disk), "photos")
    report = index(inputs, store)
    assert (report.unchanged, report.indexed) == (kept, 40 - kept)
    undisturbed = create(open_store(":memory:", "fresh"))
    index(inputs, undisturbed)
    assert_same(store, undisturbed)
    assert_statistics_are_true(store)
    store.close()
