"""Keeping a collection in line with its folders: --sync, --watch, --profile and retry, as a user runs them."""

from __future__ import annotations

import io
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image

from t2c_search.collection import open_collection
from t2c_search.stores.server import connection
from tests.cli.conftest import Outcome, World, interrupted_when_watching
from tests.indexing.support import save_pictures
from tests.stubs.rest import QdrantStub, Request

T2C = Callable[..., Outcome]
PATIENCE_SECONDS = 240


@pytest.fixture
def images(world: World, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world.images, tmp_path / "images"))


@pytest.fixture
def options(world: World, tmp_path: Path) -> list[object]:
    return ["-c", "photos", "--store", tmp_path / "photos.t2c", "--clip", world.clip]


def test_sync_deletes_what_is_gone_and_refuses_an_empty_folder(
    t2c: T2C, images: Path, options: list[object], tmp_path: Path
) -> None:
    assert t2c("index", images, *options, "--json").json["indexed"] == 40
    (images / "02.png").unlink()
    (images / "04.png").rename(images / "moved.png")
    assert t2c("index", images, *options, "--json").json["deleted"] == 0
    (images / "06.png").unlink()
    synced = t2c("index", images, *options, "--sync", "--json")
    assert (synced.json["deleted"], synced.json["renamed"], synced.json["unchanged"]) == (2, 0, 38)
    assert t2c("info", *options[:4], "--json").json["images"] == 38
    (images / "below").rename(tmp_path / "elsewhere")
    (images / "below").mkdir()
    refused = t2c("index", images, images / "below", *options, "--sync")
    assert refused.code == 2
    assert "is its disk mounted" in refused.err
    (images / "below").rmdir()
    (tmp_path / "elsewhere").rename(images / "below")
    shown = t2c("index", images, *options, "--sync")
    assert "38 unchanged" in shown.out


def test_profile_names_the_stages_and_the_limit(t2c: T2C, images: Path, options: list[object]) -> None:
    threads = (os.cpu_count() or 1) + 1  # other than what it would be
    told = t2c("index", images, *options, "--workers", threads, "--json").json["profile"]
    stages = {stage["stage"]: stage for stage in told["stages"]}
    assert stages.keys() >= {
        "list",
        "compare",
        "wait for decode",
        "embed and align",
        "read",
        "decode and prepare",
        "write",
    }
    assert told["limit"] in stages
    assert stages["decode and prepare"]["threads"] == threads
    assert all(stage["seconds"] >= 0 and 0 <= stage["busy"] <= 1 for stage in told["stages"])
    shown = t2c("index", images, *options, "--profile").out
    assert "the limit: " in shown
    assert "compare" in shown


def test_retry_indexes_what_was_mended_and_forgets_what_is_gone(t2c: T2C, images: Path, options: list[object]) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (images / name).write_bytes(b"")
    assert t2c("index", images, *options, "--json").json["failed"] == 3
    Image.new("RGB", (40, 40), "red").save(images / "a.png")
    (images / "b.png").unlink()
    retried = t2c("retry", *options[:4], "--json")
    assert (retried.code, retried.json["seen"], retried.json["indexed"], retried.json["failed"]) == (0, 2, 1, 1)
    assert [Path(failure["path"]).name for failure in t2c("info", *options[:4], "--json").json["failures"]] == ["c.png"]
    again = t2c("retry", *options[:4], "--json")
    assert (again.code, again.json["failed"]) == (3, 1)
    (images / "c.png").unlink()
    done = t2c("retry", *options[:4])
    assert (done.code, done.out) == (0, "nothing failed\n")
    assert t2c("retry", "-c", "none", *options[2:4]).code == 1


def test_one_path_cannot_keep_retry_from_the_others(
    t2c: T2C, images: Path, options: list[object], tmp_path: Path
) -> None:
    for name in ("a.png", "cut.png", "gone.png"):
        (tmp_path / name).write_bytes(b"")
    for name in ("cut", "gone"):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            archive.add(tmp_path / f"{name}.png", f"{name}.png")
    sources = [tmp_path / name for name in ("a.png", "cut.tar", "gone.tar")]
    assert t2c("index", images, *sources, *options, "--json").json["failed"] == 3
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    (tmp_path / "cut.tar").write_bytes(b"no archive")
    (tmp_path / "gone.tar").unlink()
    retried = t2c("retry", *options[:4], "--json").json
    assert (retried["seen"], retried["indexed"], retried["failed"]) == (2, 1, 1)
    failures = t2c("info", *options[:4], "--json").json["failures"]
    assert [Path(failure["path"]).name for failure in failures] == ["cut.tar::cut.png"]


def test_a_list_on_standard_input_may_name_what_is_gone(
    t2c: T2C, images: Path, options: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lists(*names: str) -> None:
        lines = "\n".join(str(images / name) for name in names)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))

    lists("00.png", "gone.png", "02.png", "*.gif", "gone/")
    made = t2c("index", "-", *options, "--json")
    assert (made.code, made.json["indexed"], made.json["failed"]) == (0, 2, 0)
    assert [warning.rpartition("(")[2] for warning in made.json["warnings"]] == [
        f"{images / name})" for name in ("gone.png", "*.gif", "gone")
    ]
    lists(*(f"{number}.gone" for number in range(30)))
    refused = t2c("index", "-", *options)
    assert refused.code == 2
    assert "no image in -: there is no file or folder" in refused.err
    assert "29.gone" not in refused.err
    lists("00.png", *(f"{number}.gone" for number in range(30)))
    assert "and 20 more notes" in t2c("index", "-", *options).err
    typed = t2c("index", images / "00.png", images / "gone.png", *options)
    assert (typed.code, "gone.png" in typed.err) == (2, True)


def test_the_fit_is_told_when_it_was_made_and_not_again(
    t2c: T2C, world: World, images: Path, options: list[object]
) -> None:
    told = "aligned to the CLIP model on 40 images"
    assert told in t2c("index", images, *options, "--backbone", world.backbone).out
    Image.new("RGB", (40, 40), "red").save(images / "new.png")
    assert told not in t2c("index", images, *options).out
    assert t2c("index", images, *options, "--json").json["aligner"]["pairs"] == 40


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let child processes take Ctrl-C: those of a program in the background would inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def added_up(reports: Iterator[dict[str, Any]], done: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """Add up reports until they say that it is done, as one change may come in two batches."""
    counts = dict.fromkeys(("indexed", "renamed", "copied", "deleted", "failed"), 0)
    while not done(counts):
        report = next(reports)
        counts = {name: count + report[name] for name, count in counts.items()}
    return counts


class Watched:
    """A ``t2c index --watch`` in a process of its own: its reports, and what it says beside them, line by line."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        self._reports, self._notes = (self._lines_of(stream) for stream in (child.stdout, child.stderr))

    @staticmethod
    def _lines_of(stream: Any) -> queue.Queue[str]:
        lines: queue.Queue[str] = queue.Queue()  # one of each stream: which of two lines came first cannot be told

        def read() -> None:
            for line in stream:
                lines.put(line)

        threading.Thread(target=read, daemon=True).start()
        return lines

    def wait_for(self, words: str) -> None:
        while words not in self._notes.get(timeout=PATIENCE_SECONDS):
            pass

    def next_report(self) -> dict[str, Any]:
        return json.loads(self._reports.get(timeout=PATIENCE_SECONDS))

    def reports_until(self, done: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        return added_up(iter(self.next_report, None), done)


@contextmanager
def watching(*arguments: object) -> Iterator[Watched]:
    command = [sys.executable, "-m", "t2c_search", "index", *map(str, arguments), "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield Watched(child)
        finally:
            child.kill()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_watch_indexes_what_comes_moves_and_goes_until_ctrl_c(t2c: T2C, images: Path, options: list[object]) -> None:
    collection = options[:4]
    with watching(images / ".." / images.name, *options, "--sync") as watched:
        assert watched.next_report()["indexed"] == 40
        watched.wait_for("watching")
        Image.new("RGB", (50, 40), "red").save(images / "new.png")
        assert watched.reports_until(lambda counts: counts["indexed"] == 1)["deleted"] == 0
        assert t2c("info", *collection, "--json").json["images"] == 41  # the store is not locked between batches
        (images / "below").rename(images / "above")
        assert watched.reports_until(lambda counts: counts["renamed"] == 20)["indexed"] == 0
        (images / "above" / "01.png").unlink()
        shutil.copy(images / "00.png", images / ".hidden.png")
        assert watched.reports_until(lambda counts: counts["deleted"] == 1)["indexed"] == 0
        watched.child.send_signal(signal.SIGINT)
        assert watched.child.wait(PATIENCE_SECONDS) == 130
        watched.wait_for("watch ended")
    assert t2c("info", *collection, "--json").json["images"] == 40
    assert t2c("index", images, *options, "--sync", "--json").json["unchanged"] == 40


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_watch_follows_links_to_folders_and_names_each_image_as_a_listing_does(
    t2c: T2C, world: World, images: Path, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2c_search.indexing.watch._QUIET_MS", 50)
    for name in ("elsewhere", "later"):
        (tmp_path / name / "deep").mkdir(parents=True)
        Image.new("RGB", (50, 40), "red").save(tmp_path / name / f"{name}.png")
    (images / "link").symlink_to(tmp_path / "elsewhere")
    (images / "a").symlink_to(images / "below")  # listed before the folder itself
    (images / "loop").symlink_to(images)

    def one(field: str) -> Callable[[dict[str, int]], bool]:
        return lambda counts: counts[field] == 1

    stop = Event()
    with open_collection("photos", str(tmp_path / "photos.t2c"), clip=world.clip) as photos:
        reports = (report.to_json() for report in photos.watch([images], sync=True, stop=stop))
        assert photos.index([images], sync=True).indexed == 41
        for number, folder in enumerate((tmp_path / "elsewhere", tmp_path / "elsewhere" / "deep", images / "below")):
            Image.new("RGB", (50, 40), (0, 0, 50 * number)).save(folder / "new.png")
            added_up(reports, one("indexed"))
        (images / "more").symlink_to(tmp_path / "later")
        added_up(reports, one("copied"))
        Image.new("RGB", (50, 40), "green").save(tmp_path / "later" / "deep" / "new.png")
        added_up(reports, one("indexed"))
        (images / "link").unlink()
        added_up(reports, lambda counts: counts["deleted"] == 3)
        Image.new("RGB", (50, 40), "blue").save(images / "below" / "last.png")
        added_up(reports, one("indexed"))
        stop.set()
        assert list(reports) == []
    listed = t2c("index", images, *options, "--sync", "--json").json
    assert (listed["seen"], listed["unchanged"], listed["deleted"]) == (44, 44, 0)
    assert t2c("info", *options[:4], "--json").json["images"] == 44


def test_only_folders_can_be_watched(t2c: T2C, images: Path, options: list[object]) -> None:
    refused = t2c("index", images / "00.png", *options, "--watch")
    assert refused.code == 2
    assert "cannot be watched: name folders" in refused.err


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_empty_folder_of_a_collection_that_is_made_can_be_watched(
    t2c: T2C, images: Path, options: list[object], tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    refused = t2c("index", inbox, *options, "--watch")
    assert refused.code == 2
    assert "is made with a first set of images" in refused.err
    assert t2c("index", images, *options, "--json").json["indexed"] == 40
    assert t2c("index", inbox, *options).code == 2
    with watching(inbox, *options, "--sync") as watched:
        assert watched.next_report()["seen"] == 0
        watched.wait_for("watching")
        Image.new("RGB", (50, 40), "red").save(inbox / "new.png")
        watched.reports_until(lambda counts: counts["indexed"] == 1)
        (inbox / "new.png").unlink()
        watched.reports_until(lambda counts: counts["deleted"] == 1)
        watched.child.send_signal(signal.SIGINT)
        assert watched.child.wait(PATIENCE_SECONDS) == 130


def test_watch_and_ray_are_refused_together(t2c: T2C, images: Path, options: list[object]) -> None:
    refused = t2c("index", images, *options, "--watch", "--engine", "ray")
    assert refused.code == 2
    assert "--watch embeds in this process" in refused.err


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_says_what_is_kept(t2c: T2C, images: Path, options: list[object]) -> None:
    assert t2c("index", images, *options, "--json").json["indexed"] == 40
    command = [sys.executable, "-m", "t2c_search", "index", "-", *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        child.stdin.write(b"\n" * (1 << 20))  # more than a pipe holds: the run has begun to read its list
        child.stdin.flush()
        child.send_signal(signal.SIGINT)
        told = child.stderr.read().decode()
        assert child.wait(PATIENCE_SECONDS) == 130
    assert told == "interrupted; what is indexed is kept, and the same command goes on from there\n"
    assert t2c("index", images, *options, "--json").json["unchanged"] == 40


class Interrupted(QdrantStub):
    """Answers the first three requests after a collection was made as a server that starts anew does."""

    made = False

    def answer(self, request: Request) -> tuple[int, Any]:
        if not self.made and (request.method, request.path) == ("PUT", "/collections/photos/points"):
            self.made = True
            self.faults.extend([503] * 3)
        return super().answer(request)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_the_first_run_of_a_watcher_waits_an_outage_out_too(
    t2c: T2C, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr("t2c_search.collection.watching._AWAY_SECONDS", 0.1)
    save_pictures(tmp_path / "photos", 12)
    with Interrupted() as server:
        to = ("-c", "photos", "--store", server.url)
        with interrupted_when_watching():
            done = t2c(
                "index", tmp_path / "photos", *to, "--clip", "mini", "--device", "cpu", "--batch-size", 4, "--watch"
            )
        assert done.code == 130
        assert "the store is away since" in done.err
        assert "the store answers again, after" in done.err
        assert t2c("info", *to, "--json").json["images"] == 12
