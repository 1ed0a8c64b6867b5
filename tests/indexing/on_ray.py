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

import torch

from t2c_search.indexing.pipeline import index_images
from t2c_search.indexing.ray.cluster import Cluster
from t2c_search.indexing.ray.distributed import embed_on_ray
from t2c_search.indexing.report import IndexReport
from t2c_search.sources import ImageInput, list_images
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore

from .support import TinyEncoder, create, no_encoder


def load_tiny() -> tuple[TinyEncoder, Callable[[torch.Tensor], torch.Tensor]]:
    return TinyEncoder(), torch.nn.functional.normalize


def load_pair() -> tuple[TinyEncoder, TinyEncoder]:
    return TinyEncoder(), TinyEncoder(seed=1)


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

    photos, marker, exit_code = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    report = imported.on_ray(
        imported.with_deadly(photos, "0011.jpg", marker=marker), create(open_store(":memory:", "photos"), indexes={})
    )
    sys.exit(exit_code if report.indexed == 20 else 1)
