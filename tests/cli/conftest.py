"""The command line, run as a user runs it, in this process; and a small collection to run it on."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from t2c_search.__main__ import main
from tests.encoders.tiny import save_open_clip, save_timm

PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: object) -> Outcome:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["t2c", *map(str, arguments)])
        try:
            main()
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 0
    told, said = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert "Traceback" not in said
    return Outcome(code, told, said)


@pytest.fixture(scope="session")
def t2c() -> Callable[..., Outcome]:
    return run


@dataclass(frozen=True)
class World:
    """Forty noise pictures of four sizes, and random weights of a CLIP model and a backbone."""

    images: Path
    clip: str
    backbone: str


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    (root / "images" / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(40):
        side = 40 + 20 * (number % 4)
        pixels = rng.integers(0, 255, (4, 4, 3), np.uint8)
        folder = root / "images" / ("below" if number % 2 else ".")
        Image.fromarray(pixels).resize((side, 50)).save(folder / f"{number:02d}.png")
    (root / "captions.csv").write_text(
        "image,caption,split\n"
        + "".join(f"{n:02d}.png,picture {n},{'test' if n < 10 else 'train'}\n" for n in range(40))
    )
    return World(
        root / "images",
        save_open_clip(root / "clip", seed=1),
        save_timm(root / "backbone", "test_resnet.r160_in1k", seed=2),
    )


@contextmanager
def interrupted_when_watching() -> Iterator[None]:
    """Press Ctrl-C when the first report is there: then standard error says that the watch is on."""
    over = threading.Event()

    def press() -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not over.wait(0.05) and time.monotonic() < deadline:
            said = getattr(sys.stderr, "buffer", None)
            if isinstance(said, io.BytesIO) and b"watching" in said.getvalue():
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
