"""Nothing that lies in the working folder is run, by whichever process of ours; and only an answer is taken for one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2c_search import child
from t2c_search.encoders import registry
from t2c_search.errors import StoreFullError, UsageError
from t2c_search.indexing.ray import cluster

ROOT = Path(__file__).parents[2]
EARLY = ("__future__", "dataclasses", "json", "PIL", "sqlite3", "t2c_test_absent", "torch", "typing_extensions")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, where modules lie that would write a file beside it."""
    folder = tmp_path / "hostile"
    for name in EARLY:
        file = folder / name / "__init__.py" if name == "PIL" else folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write(__file__); raise SystemExit(7)")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)


def assert_nothing_ran(hostile: Path) -> None:
    assert not (ran := hostile.parent / "ran").exists(), ran.read_text()


def test_the_command_line_imports_nothing_from_there(hostile: Path) -> None:
    listed = python("-m", "t2c_search", "collections", "--store", hostile.parent / "photos.t2c", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert_nothing_ran(hostile)


AS_A_LIBRARY = """
import os, sys
assert sys.path.pop(0) == ""
from pathlib import Path
from t2c_search.stores import build_index, open_store
from t2c_search.stores.edge import store as edge, trial
from t2c_search.testing.points import SPEC, make_points

sys.path[:0] = ["", os.getcwd()]  # as an interpreter that was started here has them
store = open_store(sys.argv[1], "photos")
store.create(SPEC)
store.upsert(make_points())
store.close()
build_index(sys.argv[1], "photos")
trial.try_opening(Path(sys.argv[1], "photos", "shard"), sys.argv[1], "photos", ["clip"])
"""


def test_the_engines_other_processes_import_nothing_from_there(hostile: Path, tmp_path: Path) -> None:
    done = python("-c", AS_A_LIBRARY, tmp_path / "photos.t2c")
    assert (done.returncode, done.stderr) == (0, "")
    assert_nothing_ran(hostile)


ON_RAY = """
import os, sys
sys.path.pop(0)
from t2c_search.indexing.ray.cluster import connected, quiet

def look():
    import json, os, sys
    import PIL
    return json.__file__, PIL.__file__, os.getcwd() in sys.path

with quiet(), connected(None) as ray:
    found = ray.get(ray.remote(look).remote())
print(*found)
"""


def test_rays_workers_import_nothing_from_there(hostile: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install t2c-search[ray]")
    done = python("-c", ON_RAY)
    assert done.returncode == 0, done.stderr
    assert str(hostile) not in done.stdout and done.stdout.endswith("False\n")
    assert_nothing_ran(hostile)


def test_a_module_that_the_user_names_is_found_behind_all_others(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (hostile / "of_the_user.py").write_text(
        "import json, torch\ndef make(): return torch.nn.Flatten(), lambda image: torch.ones(3, 4, 4)"
    )
    assert registry.load("torch:of_the_user:make").id == "torch:of_the_user:make"
    assert sys.path[-1] == str(hostile) and sys.path.count(str(hostile)) == 1
    assert_nothing_ran(hostile)


def chatter(text: str) -> str:
    print('{"answer": "printed"}', flush=True)
    os.write(1, b'{"answer": "written"}')
    return text.upper()


def full(location: str) -> None:
    raise StoreFullError(f"the disk of {location} is full")


def broken(_: str) -> None:
    raise KeyError("a fault of ours")


def half_an_answer(_: str) -> None:
    Path(sys.argv[2]).write_text('{"answer": "ha')
    os._exit(0)


def another_answer(_: str) -> None:
    Path(sys.argv[2]).write_text('["answer"]')
    os._exit(0)


def dead(_: str) -> None:
    os.abort()


@pytest.mark.parametrize("started_in", ["checkout", "elsewhere"])
def test_what_a_process_prints_is_no_answer(started_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT if started_in == "checkout" else tmp_path)
    assert child.call(chatter, "an answer") == "AN ANSWER"


def test_an_error_of_ours_crosses_over(tmp_path: Path) -> None:
    with pytest.raises(StoreFullError, match=f"the disk of {tmp_path} is full"):
        child.call(full, str(tmp_path))


@pytest.mark.parametrize(
    ("function", "code", "told"),
    [
        (broken, 1, "KeyError: 'a fault of ours'"),
        (half_an_answer, 0, "exit code 0"),
        (another_answer, 0, "exit code 0"),
        pytest.param(dead, -6, "exit code -6", marks=pytest.mark.skipif(os.name != "posix", reason="needs signals")),
    ],
)
def test_what_cannot_be_read_is_an_error(function: child.Callable[[str], None], code: int, told: str) -> None:
    with pytest.raises(child.NoAnswerError, match=told) as caught:
        child.call(function, "")
    assert caught.value.code == code


class RayThatStarts:
    """Stands in for Ray's module where only its start matters: it fails so many times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.starts, self.ends = failures, 0, 0

    def init(self, address: str, **_: object) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise Exception("The current node timed out during startup.\nRaylet log: a page of it")

    def shutdown(self) -> None:
        self.ends += 1


def test_ray_that_does_not_start_is_started_once_more_and_then_told_in_a_sentence() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install t2c-search[ray]")
    slow, never, elsewhere = RayThatStarts(1), RayThatStarts(9), RayThatStarts(9)
    cluster._start(slow, None)
    assert (slow.starts, slow.ends) == (2, 1)
    with pytest.raises(UsageError) as told:
        cluster._start(never, None)
    assert str(told.value) == "Ray does not start on this machine: The current node timed out during startup."
    assert never.starts == 2
    with pytest.raises(UsageError, match="no Ray cluster can be used at '10.0.0.1:6379'"):
        cluster._start(elsewhere, "10.0.0.1:6379")
    assert elsewhere.starts == 1
