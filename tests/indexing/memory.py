"""How much memory indexing takes: ``python -m tests.indexing.memory IMAGES...`` prints the peak after so many of them.

The images are small files of their own, the model is tiny, and the store discards what it is given, so that whatever
grows with the number of images is the indexer's.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from t2c_search.filters import Filter
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.progress import Monitor
from t2c_search.sources import list_images
from t2c_search.stores.header import Header
from t2c_search.stores.protocol import Capabilities, CollectionSpec
from t2c_search.types import CLIP, Failure, Payload, Points

from .support import DIM, TinyEncoder, picture


class DiscardingStore:
    """A store that keeps its blobs and forgets every point; as much of ``VectorStore`` as indexing uses."""

    location, collection = ":nowhere:", "discarded"
    capabilities = Capabilities(persistent=False, ann=False, concurrent=True)

    def __init__(self) -> None:
        self.written = 0
        self._blobs: dict[str, bytes] = {}

    def spec(self) -> CollectionSpec:
        return CollectionSpec.of({CLIP: DIM}, {})

    def upsert(self, points: Points) -> None:
        self.written += len(points)

    def set_payload(self, ids: Sequence[str], payloads: Sequence[Payload]) -> None: ...

    def delete(self, ids: Sequence[str]) -> None: ...

    def fetch(self, ids: Sequence[str], *, vectors: tuple[str, ...] = (), payload: bool = True) -> Points:
        return Points([])

    def scan(
        self, *, where: Filter | None = None, vectors: tuple[str, ...] = (), payload: object = True
    ) -> Iterator[Points]:
        return iter(())

    def count(self, where: Filter | None = None) -> int:
        return 0

    def header(self) -> Header:
        return Header(self.spec())

    def read_blobs(self, keys: Sequence[str]) -> tuple[Header, dict[str, bytes]]:
        return self.header(), {key: self._blobs[key] for key in keys if key in self._blobs}

    def update_blob(self, key: str, function: Callable[[bytes | None], bytes | None]) -> bytes | None:
        content = function(self._blobs.get(key))
        if content is not None:
            self._blobs[key] = content
        return content

    def write_blob(self, key: str, content: bytes) -> None:
        self._blobs[key] = content

    def flush(self) -> None: ...


class Peaks:
    """Notes the process's peak memory, in KiB, when so many images are done."""

    def __init__(self, at: Sequence[int]) -> None:
        self.at = list(at)
        self.done = 0
        self.peaks: dict[int, int] = {}

    def start(self, total: int | None, stage: str) -> None: ...

    def fail(self, failure: Failure) -> None: ...

    def advance(self, images: int) -> None:
        self.done += images
        while self.at and self.done >= self.at[0]:
            # not getrusage: its peak is inherited from the process that started this one
            told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.peaks[self.at.pop(0)] = int(told["VmHWM"].split()[0])


def peak_memory(at: Sequence[int], folder: Path) -> Mapping[int, int]:
    """Index as many images as the last of these ascending numbers; return the peak in KiB when each of them was done."""
    contents = folder / "contents"
    contents.mkdir()
    for number in range(100):
        picture(number, (64, 48)).save(contents / f"{number}.jpg")
    images = folder / "images"
    images.mkdir()
    for number in range(at[-1]):
        os.link(contents / f"{number % 100}.jpg", images / f"{number}.jpg")
    progress = Peaks(at)
    run = Run(DiscardingStore(), lambda: (TinyEncoder(), torch.nn.functional.normalize), Monitor(progress))
    index_images(list_images([images]), run, LocalEmbedder(Batching(64, 2)))
    return progress.peaks


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for images, kib in peak_memory(sorted(map(int, sys.argv[1:])), Path(folder)).items():
            print(images, kib)
