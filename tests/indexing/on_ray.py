"""What the worker processes of the tests on Ray import; as a program, it indexes a folder there."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from t2c_search.decoding.decode import decode_file
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.indexing.ray.cluster import Cluster
from t2c_search.indexing.ray.embedder import RayEmbedder
from t2c_search.indexing.report import IndexReport
from t2c_search.sources import ImageInput, list_images
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore

from .support import SIDE, TinyEncoder, create

Loaded = tuple[TinyEncoder, Callable[[torch.Tensor], torch.Tensor]]


class Deadly(TinyEncoder):
    """Some images kill its process: every time, or the first time, of which ``marker`` then tells."""

    def __init__(self, paths: Sequence[Path], marker: str = "") -> None:
        super().__init__()
        self.deadly = [super(Deadly, self).prepare(decode_file(path, decode_size=SIDE)) for path in paths]
        self.marker = marker

    def prepare(self, image: Image.Image) -> torch.Tensor:
        prepared = super().prepare(image)
        if any(torch.equal(prepared, deadly) for deadly in self.deadly) and not Path(self.marker or "?").exists():
            self.end()
        return prepared

    def end(self) -> None:
        if self.marker:
            Path(self.marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Stuck(Deadly):
    """Some images tell ``marker`` the process's id and never end, unless the marker is there already."""

    def end(self) -> None:
        Path(self.marker + ".new").write_text(str(os.getpid()))
        Path(self.marker + ".new").rename(self.marker)
        threading.Event().wait()


def load_tiny() -> Loaded:
    return TinyEncoder(), torch.nn.functional.normalize


def load_deadly(kind: type[Deadly], paths: Sequence[Path], marker: str = "") -> Loaded:
    return kind(paths, marker), torch.nn.functional.normalize


def load_pair() -> tuple[TinyEncoder, TinyEncoder]:
    return TinyEncoder(), TinyEncoder(seed=1)


def load_deadly_pair(paths: Sequence[Path], marker: str) -> tuple[TinyEncoder, TinyEncoder]:
    return Deadly(paths, marker), TinyEncoder(seed=1)


def on_ray(
    inputs: Sequence[ImageInput], store: VectorStore, load: Callable[[], Any] = load_tiny, batch_size: int = 2
) -> IndexReport:
    return index_images(inputs, Run(store, load), RayEmbedder(Cluster(), Batching(batch_size)))


if __name__ == "__main__":
    from . import on_ray as imported  # so that the workers find what is pickled

    photos, marker, exit_code = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    load = partial(imported.load_deadly, imported.Deadly, [photos / "0011.jpg"], marker)
    report = imported.on_ray(list_images([photos]), create(open_store(":memory:", "photos"), indexes={}), load)
    sys.exit(exit_code if report.indexed == 20 else 1)
