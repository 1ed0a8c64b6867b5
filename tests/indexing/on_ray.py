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

import numpy as np
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

from .support import DIM, SIDE, TinyEncoder, create

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


def make_backbone() -> tuple[torch.nn.Module, Callable[[Image.Image], torch.Tensor]]:
    """A module of one's own, which loads no library of models into each worker."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, DIM)), _pooled


def _pooled(image: Image.Image) -> torch.Tensor:
    return TinyEncoder().prepare(image).float().div(255)


def save_vectors(folder: Path, names: Sequence[str]) -> str:
    """Save what stands in for a CLIP model, vectors of images and of two concepts; return its id."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    for kind, each in (("image", names), ("concept", ["dog", "snow"])):
        np.save(folder / f"{kind}_embeddings.npy", dice.normal(size=(len(each), DIM)).astype(np.float32))
        (folder / f"{kind}_names.txt").write_text("\n".join(each))
    return f"precomputed:{folder}"


def on_ray(
    inputs: Sequence[ImageInput], store: VectorStore, load: Callable[[], Any] = load_tiny, batch_size: int = 2
) -> IndexReport:
    return index_images(inputs, Run(store, load), RayEmbedder(Cluster(), Batching(batch_size)))


if __name__ == "__main__":
    from . import on_ray as imported  # so that the workers find what is pickled

    photos, location, marker, exit_code = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    store = create(open_store(location, "photos"), indexes={})
    load = partial(imported.load_deadly, imported.Deadly, [photos / "0011.jpg"], marker)
    report = imported.on_ray(list_images([photos]), store, load)
    store.close()
    sys.exit(exit_code if report.indexed == 20 else 1)
