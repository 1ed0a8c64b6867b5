"""README's tour, typed line by line as it stands there, in a fresh folder: each command does what the text promises."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2c_search.demo.world import draw
from tests.cli.conftest import Outcome, interrupted_when_watching
from tests.stubs.rest import QdrantStub

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)

T2C = Callable[..., Outcome]


def substitutions(server: str, photographs: Path) -> dict[str, str]:
    """All that is typed otherwise than it stands there: what needs a network, a cluster, or the machine's own folders."""
    return {
        "python3 -m venv .venv": "true",
        ".venv/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu": "true",
        ".venv/bin/pip install .": "true",
        '.venv/bin/pip install -e ".[dev]"': "true",
        ".venv/bin/pytest": f"{sys.executable} -m pytest -q -p no:cacheprovider {ROOT}/tests/test_filters.py",
        ".venv/bin/t2c": "t2c",
        "http://localhost:6333": server,
        "http://qdrant:6333": server,
        "s3://bucket": "memory://bucket",
        "timm:vit_small_patch14_dinov2.lvd142m": "mini:vit",
        " --ray-address auto": "",
        "/photographs": str(photographs),
    }


@pytest.fixture
def stub() -> Iterator[QdrantStub]:
    with QdrantStub() as stub:
        yield stub


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the tour names; ~/Pictures has drawn scenes, and the default CLIP model is the bundled one."""
    pictures = tmp_path / "home" / "Pictures"
    pictures.mkdir(parents=True)
    scenes = [Image.fromarray(scene.image) for scene in draw(5, 40)]
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "FUJIFILM", "X100V"
    exif.get_ifd(0x8769)[0x9003] = "2023:05:02 10:00:00"
    for number, scene in enumerate(scenes):
        scene.save(pictures / f"{number:02d}.jpg", exif=exif)
    (desk := tmp_path / "desk").mkdir()
    for name, scene in zip(("a", "b", "c", "cat"), scenes, strict=False):
        scene.save(desk / f"{name}.jpg")
    _save_shards(desk, scenes)
    jpegs = [_jpeg(scene) for scene in scenes[:5]]
    table = {"image": jpegs, "price": [1.5] * 5, "sold": [datetime(2024, 1, 1)] * 5}
    pq.write_table(pa.table(table), desk / "products.parquet")
    (desk / "last").touch()
    os.utime(desk / "last", (0, 0))
    _save_video(desk / "clips" / "one.mp4")
    (tmp_path / "photographs").mkdir()
    for number, scene in enumerate(scenes[20:26]):
        scene.save(tmp_path / "photographs" / f"{number}.jpg")
    bucket = fsspec.filesystem("memory")
    bucket.pipe_file("/bucket/photos/0.jpg", jpegs[0])
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("T2C_CLIP", "mini")
    yield desk
    bucket.store.clear()
    bucket.pseudo_dirs[:] = [""]


def _jpeg(scene: Image.Image) -> bytes:
    scene.save(file := io.BytesIO(), "JPEG")
    return file.getvalue()


def _save_shards(folder: Path, scenes: list[Image.Image]) -> None:
    for number in range(13):
        with tarfile.open(folder / f"shards-{number:03d}.tar", "w") as shard:
            member = tarfile.TarInfo(f"{number}.jpg")
            content = _jpeg(scenes[number])
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


def _save_video(path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install t2c-search[video]")
    path.parent.mkdir()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 10 * number, np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


class Shell:
    """Types a line: commands joined by ``&&``, ``t2c`` in this process, with what another one before ``|`` prints."""

    def __init__(self, t2c: T2C, monkeypatch: pytest.MonkeyPatch) -> None:
        self._t2c = t2c
        self._patch = monkeypatch

    def type(self, line: str) -> int:
        """Return the exit code of the last command."""
        words = shlex.shlex(line, posix=True, punctuation_chars="&|")
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, "&&"]:
            if word not in ("&&", "|"):
                command.append(word)
                continue
            code, printed = self._run(command)
            if code or word == "&&":
                self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
            if code:
                return code
            if word == "|":
                self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(printed)))
            command = []
        return 0

    def _run(self, command: list[str]) -> tuple[int, bytes]:
        if command[0] != "t2c":
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            return done.returncode, done.stdout
        with interrupted_when_watching() if "--watch" in command else nullcontext():
            outcome = self._t2c(*command[1:])
        print(outcome.out, outcome.err)
        return outcome.code, outcome.out.encode()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.timeout(900)
def test_the_tour(
    t2c: T2C,
    stub: QdrantStub,
    desk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shell = Shell(t2c, monkeypatch)
    table = substitutions(stub.url, tmp_path / "photographs")
    typed = 0
    for language, block in BLOCKS:
        for written, instead in table.items():
            block = block.replace(written, instead)
        if language == "python":
            exec(compile(block, "README.md", "exec"), {})
            continue
        for line in filter(None, block.splitlines()):
            assert shell.type(line) == (130 if "--watch" in line else 0), f"{line}\n{capsys.readouterr().out}"
            typed += 1
    assert typed >= 29
    assert {path.name for path in desk.glob("*.t2c")} == {"photos.t2c"}  # named once, then left out
