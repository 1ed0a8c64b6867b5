"""What the worker processes of the tests on Ray import; as a program, it indexes a folder there."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from t2c_search.indexing.pipeline import index_images
from t2c_search.indexing.ray.cluster import Cluster
from t2c_search.indexing.ray.distributed import embed_on_ray
from t2c_search.indexing.report import IndexReport
from t2c_search.sources import ImageInput, list_images
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore

from .support import DIM, SIDE, TinyEncoder, create, no_encoder


def load_tiny() -> tuple[TinyEncoder, Callable[[torch.Tensor], torch.Tensor]]:
    return TinyEncoder(), torch.nn.functional.normalize


def load_pair() -> tuple[TinyEncoder, TinyEncoder]:
    return TinyEncoder(), TinyEncoder(seed=1)


def make_backbone() -> tuple[torch.nn.Module, Callable[[Image.Image], torch.Tensor]]:
    """A module of one's own, which loads no library of models into each worker."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, DIM)), _pooled


def _pooled(image: Image.Image) -> torch.Tensor:
    return TinyEncoder().prepare(image, "").float().div(255)


def save_vectors(folder: Path, names: Sequence[str]) -> str:
    """Save what stands in for a CLIP model, vectors of images and of two concepts; return its id."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    for kind, each in (("image", names), ("concept", ["dog", "snow"])):
        np.save(folder / f"{kind}_embeddings.npy", dice.normal(size=(len(each), DIM)).astype(np.float32))
        (folder / f"{kind}_names.txt").write_text("\n".join(each))
    return f"precomputed:{folder}"


@dataclass(frozen=True, slots=True)
class Deadly(ImageInput):
    """An image whose reading kills the process: every time, or the first time, of which ``marker`` then tells."""

    marker: str = ""

    def read(self) -> bytes:
        if self.marker and Path(self.marker).exists():
            return ImageInput.read(self)
        if self.marker:
            Path(self.marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class Stuck(ImageInput):
    """An image whose reading tells ``marker`` the process's id and does not end, unless the marker is there already."""

    marker: str = ""

    def read(self) -> bytes:
        if not Path(self.marker).exists():
            Path(self.marker + ".new").write_text(str(os.getpid()))
            Path(self.marker + ".new").rename(self.marker)
            threading.Event().wait()
        return ImageInput.read(self)


def with_deadly(photos: Path, *names: str, marker: str = "") -> list[ImageInput]:
    """List the images, those of these names deadly."""
    return [
        Deadly(item.path, item.size, item.mtime_ns, item.fields, marker=marker) if item.path.endswith(names) else item
        for item in list_images([photos])
    ]


def on_ray(
    inputs: Sequence[ImageInput], store: VectorStore, load: Callable[[], object] = load_tiny, batch_size: int = 2
) -> IndexReport:
    elsewhere = partial(
        embed_on_ray,
        store=store,
        load_model=load,
        open_store=partial(open_store, store.location, store.collection),
        cluster=Cluster(),
        batch_size=batch_size,
    )
    return index_images(
        inputs,
        store=store,
        load_encoder=no_encoder,
        load_projection=no_encoder,
        batch_size=batch_size,
        elsewhere=elsewhere,
    )


if __name__ == "__main__":
    from . import on_ray as imported  # so that the workers find what is pickled

    photos, location, marker, exit_code = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    store = create(open_store(location, "photos"), indexes={})
    report = imported.on_ray(imported.with_deadly(photos, "0011.jpg", marker=marker), store)
    store.close()
    sys.exit(exit_code if report.indexed == 20 else 1)
