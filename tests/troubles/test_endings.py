"""A command that is ended, or cannot write, ends in order: one sentence, the right exit code, and nothing half made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from t2c_search.aside import file_aside, folder_aside
from t2c_search.errors import UsageError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and /dev/full")
PATIENCE_SECONDS = 60
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let child processes take signals: those of a program in the background would inherit that some are ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, action in before.items():
        signal.signal(number, action)


def t2c(command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell, in which t2c is ours."""
    line = f't2c() {{ "{sys.executable}" -P -m t2c_search "$@"; }}; {command}'
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=env)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command", ["--help", "--version", "models", "models --json", "settings --json", "search --help"]
)
def test_a_full_device_is_one_sentence(command: str) -> None:
    done = t2c(f"t2c {command} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "t2c: the output cannot be written: No space left on device\n")


def test_closed_streams_do_not_matter() -> None:
    done = t2c("t2c models >&- 2>&- <&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_working_folder_that_was_deleted_is_one_sentence(tmp_path: Path) -> None:
    done = t2c(f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && t2c collections")
    assert done.returncode == 2 and done.stderr.startswith("t2c: the working folder was deleted")


@contextmanager
def running(command: Sequence[object]) -> Iterator[subprocess.Popen[bytes]]:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*map(str, command)], **pipes, env={**os.environ, "PYTHONPATH": str(ROOT)}) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_an_indexing_run_in_order(number: signal.Signals, code: int, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "t2c_search",
        "index",
        "-",
        "--store",
        tmp_path / "photos.t2c",
        "--clip",
        "mini",
    ]
    with running(command) as child:
        assert child.stdin is not None and child.stderr is not None
        child.stdin.write(b"\n" * (1 << 20))  # more than a pipe holds: the run has begun to read its list
        child.stdin.flush()
        child.send_signal(number)
        told = child.stderr.read().decode()
        assert child.wait(PATIENCE_SECONDS) == code
    assert told == "interrupted; what is indexed is kept, and the same command goes on from there\n"


EXPORT = """
import signal, sys
from pathlib import Path
from t2c_search.cli import app
from t2c_search.aside import file_aside, folder_aside
from t2c_search.__main__ import main

@app.command(rich_help_panel="This machine")
def write(place: Path) -> None:
    aside = folder_aside if place.suffix == "" else file_aside
    with aside(place) as target:
        (target / "a").touch() if place.suffix == "" else target.write(b"half")
        print("half done", flush=True)
        signal.pause()

main()
"""


@pytest.mark.parametrize("name", ["out.csv", "out"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_half_written_is_left(number: signal.Signals, name: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("former")
    with running([sys.executable, "-P", "-c", EXPORT, "write", tmp_path / name]) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == b"half done\n"
        assert len(list(tmp_path.rglob(".*.partial"))) == 1
        child.send_signal(number)
        assert child.wait(PATIENCE_SECONDS) == 128 + number
        assert child.stderr.read() == b"t2c: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "former"


def test_nohup_is_respected(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with running([sys.executable, "-P", "-c", EXPORT, "write", tmp_path / "out.csv"]) as child:
        assert child.stdout is not None and child.stdout.readline() == b"half done\n"
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_SECONDS) == 143


def test_two_exports_at_once_write_two_files_and_follow_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("out.csv.partial", ".out.csv.partial"):
        (tmp_path / name).symlink_to(victim)
    with file_aside(tmp_path / "out.csv") as first:
        first.write(b"first")
        with file_aside(tmp_path / "out.csv") as second:
            second.write(b"sec")
        assert (tmp_path / "out.csv").read_bytes() == b"sec"
    assert (tmp_path / "out.csv").read_bytes() == b"first"
    assert victim.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_link_in_place_of_the_target_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out.csv").symlink_to(victim)
    with file_aside(tmp_path / "out.csv") as target:
        target.write(b"ours")
    assert victim.read_text() == "mine" and not (tmp_path / "out.csv").is_symlink()


def test_an_exports_file_may_be_read_by_those_who_may_read_others(tmp_path: Path) -> None:
    (tmp_path / "other.csv").touch()
    with file_aside(tmp_path / "out.csv") as target:
        target.write(b"ours")
    assert (tmp_path / "out.csv").stat().st_mode == (tmp_path / "other.csv").stat().st_mode


def test_the_longest_name_can_be_exported_to(tmp_path: Path) -> None:
    with file_aside(tmp_path / ("x" * 251 + ".csv")) as target:
        target.write(b"ours")


def test_two_exports_into_one_folder_are_never_mixed(tmp_path: Path) -> None:
    with folder_aside(tmp_path / "out") as first:
        (first / "a").touch()
        with pytest.raises(UsageError, match="is not empty"), folder_aside(tmp_path / "out"):
            pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
