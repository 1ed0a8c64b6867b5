"""Machines, hours, memory and disk for 1 M, 100 M and 1 B images, from measured figures: the tables of docs/capacity.md.

    python -m benchmarks.capacity             # print the tables
    python -m benchmarks.capacity --measure   # measure what they start from first (some minutes, on real photographs)

Measured figures are kept in ``results/capacity.json``. The rates of ``benchmarks.indexing`` follow its own where
``results/indexing.json`` is there: of ``images_per_second`` each row's ``t2c``, by the machine that ``hardware`` describes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._common import RESULTS

DIM = 512
SCALES = {"1 M": 10**6, "100 M": 10**8, "1 B": 10**9}
BITS = {"none": 32, "int8": 8, "tq4": 4}
"""What a number of a vector takes in memory, by ``--quantization``."""
LINKS = 16  # of a node of the graph, Qdrant's default m: twice as many on the ground floor, m above
GRAPH = 4 * (2 * LINKS + LINKS / (LINKS - 1))
"""Bytes of one node's links: it is on floor l with probability m^-l."""
REPLICAS = 2
FILL = 0.7
"""Share of a machine's memory and disk that may be used: segments are rewritten beside the old ones."""
GIB, TIB = 2**30, 2**40
POINTS, PROBE_DIM = 20_480, 128  # of the collections whose size is measured: just enough that segments are indexed
IMAGES = 150  # for each rate


@dataclass(frozen=True)
class Machine:
    """A machine that holds shards."""

    cores: int = 16
    memory: int = 128 * GIB
    disk: int = 2 * TIB


@dataclass(frozen=True)
class PerImage:
    """Bytes that one image takes in one replica."""

    vectors: float
    """In memory, as they are searched."""
    kept: float
    """On disk: float32, and the quantised ones beside them."""
    graph: float
    index_memory: float
    payload_disk: float

    @property
    def memory(self) -> float:
        """Bytes in memory."""
        return self.vectors + self.graph + self.index_memory

    @property
    def disk(self) -> float:
        """Bytes on disk."""
        return self.kept + self.graph + self.payload_disk


@dataclass(frozen=True)
class Cluster:
    """What a collection takes in all its replicas."""

    memory: float
    disk: float
    machines: int


def per_image(measured: Mapping[str, Any], quantization: str, dim: int = DIM) -> PerImage:
    """Add up one image's bytes."""
    searched = dim * BITS[quantization] / 8
    return PerImage(
        vectors=searched,
        kept=4 * dim + (0 if quantization == "none" else searched),
        graph=GRAPH,
        index_memory=measured["index_memory_per_image"],
        payload_disk=measured["payload_disk_per_image"],
    )


def cluster(images: int, each: PerImage, machine: Machine) -> Cluster:
    """Return what holds so many images twice: three machines at least, so that two are a majority."""
    memory, disk = (images * REPLICAS * size for size in (each.memory, each.disk))
    needed = max(memory / (FILL * machine.memory), disk / (FILL * machine.disk))
    return Cluster(memory, disk, max(3, math.ceil(needed)))


def units_for_a_day(images: int, images_per_second: float) -> int:
    """Return how many of what gives that rate index so many images within 24 hours."""
    return math.ceil(images / (images_per_second * 86_400))


def figures() -> dict[str, Any]:
    """Read the measured figures."""
    measured: dict[str, Any] = json.loads((RESULTS / "capacity.json").read_text())
    indexing = RESULTS / "indexing.json"
    if indexing.is_file():
        found = json.loads(indexing.read_text())
        machine = found["hardware"]
        unit = ", ".join(filter(None, (machine["gpu"], f"{machine['processors']} cores")))
        for name, row in found["images_per_second"].items():
            measured["rates"][name] = {"images_per_second": row["t2c"], "unit": unit}
    return measured


def tables(measured: Mapping[str, Any]) -> str:
    """Lay out everything as Markdown."""
    machine = Machine()
    return "\n\n".join(
        "\n".join(lines) for lines in (_bytes(measured), _clusters(measured, machine), _hours(measured["rates"]))
    )


def _bytes(measured: Mapping[str, Any]) -> Iterator[str]:
    yield "| bytes of one image, one replica | " + " | ".join(BITS) + " |"
    yield "|---|" + "---:|" * len(BITS)
    each = [per_image(measured, quantization) for quantization in BITS]
    rows = {
        f"vector in memory, {DIM} numbers": [one.vectors for one in each],
        f"graph, m = {LINKS}": [one.graph for one in each],
        "payload indexes in memory (measured)": [one.index_memory for one in each],
        "**memory**": [one.memory for one in each],
        "vector on disk, float32 and quantised": [one.kept for one in each],
        "payload and its indexes on disk (measured)": [one.payload_disk for one in each],
        "**disk**, the graph included": [one.disk for one in each],
    }
    for name, values in rows.items():
        yield f"| {name} | " + " | ".join(f"{value:,.0f}" for value in values) + " |"


def _clusters(measured: Mapping[str, Any], machine: Machine) -> Iterator[str]:
    yield "| images | quantization | memory | disk | machines |"
    yield "|---:|---|---:|---:|---:|"
    for scale, images in SCALES.items():
        for quantization in BITS:
            whole = cluster(images, per_image(measured, quantization), machine)
            sizes = " | ".join(f"{size / GIB:,.0f} GiB" for size in (whole.memory, whole.disk))
            yield f"| {scale} | {quantization} | {sizes} | {whole.machines} |"


def _hours(rates: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    headings = " | ".join(f"{scale}: hours, units for a day" for scale in SCALES)
    yield f"| model and images | unit | images/s | {headings} |"
    yield "|---|---|---:|" + "---:|" * len(SCALES)
    for name, rate in rates.items():
        speed = rate["images_per_second"]
        cells = [f"{images / speed / 3600:,.0f} h, {units_for_a_day(images, speed):,}" for images in SCALES.values()]
        yield f"| {name} | {rate['unit']} | {speed:,.1f} | " + " | ".join(cells) + " |"


def measure() -> dict[str, Any]:
    """Measure rates on real photographs, and what payloads take in the embedded engine, in a process for each."""
    with tempfile.TemporaryDirectory() as folder:
        bare, indexed = (_size(Path(folder) / str(flag), flag) for flag in (False, True))
    photographs = Path(os.environ.get("T2C_REAL_DATA", Path(__file__).parents[2] / "shared" / "real"))
    models = {"mini:cnn": "mini:cnn", "MobileNetV2": f"timm:local-dir:{photographs / 'timm' / 'mobilenetv2_100'}"}
    rates = {name: _rate(model, photographs / "photos_fullsize") for name, model in models.items()}
    return {
        "index_memory_per_image": indexed["memory"] - bare["memory"],
        "payload_disk_per_image": indexed["disk"] - 4 * PROBE_DIM - GRAPH,
        "worker_memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # Linux counts in KiB
        "rates": {
            f"{name}, photographs of 0.2 megapixels": {"images_per_second": rate, "unit": "1 core"}
            for name, rate in rates.items()
        },
    }


def _rate(model: str, folder: Path) -> float:
    """Return the images that one processor core reads, decodes and embeds per second of its own time."""
    import torch

    from t2c_search.encoders import registry
    from t2c_search.indexing.batching import Batching
    from t2c_search.indexing.embedding import embed
    from t2c_search.sources import list_images

    torch.set_num_threads(1)
    encoder = registry.load_image_encoder(model, device="cpu")
    inputs = list(list_images([folder]))[:IMAGES]

    def embed_all() -> None:
        for _ in embed(inputs, (encoder,), batching=Batching(32, 1), on_failure=lambda failure: None):
            pass

    embed_all()  # the first time is not typical
    started = time.process_time()  # not the clock on the wall: other programs may run beside
    embed_all()
    return len(inputs) / (time.process_time() - started)


def _payload(identity: str, rng: np.random.Generator) -> dict[str, Any]:
    """Draw a photograph's payload."""
    name = f"IMG_{rng.integers(10**6):06}.jpg"
    month = f"{rng.integers(1, 13):02}"
    return {
        "path": f"/srv/photographs/2024/{month}/{identity[:4]}/{name}",
        "name": name,
        "folders": ["srv", "photographs", "2024", month, identity[:4]],
        "bytes": int(rng.integers(10**5, 10**7)),
        "mtime_ns": int(rng.integers(2**60)),
        "hash": rng.bytes(32).hex(),
        "format": "JPEG",
        "width": 4000,
        "height": 3000,
        "taken": f"2024-{month}-{rng.integers(1, 29):02}T12:{rng.integers(60):02}:{rng.integers(60):02}",
        "camera": "NIKON D90",
        "captions": [" ".join(rng.choice(_WORDS, 10))],
    }


_WORDS = ("a", "the", "dog", "cat", "child", "runs", "sits", "on", "in", "red", "blue", "grass", "water")


def _size(folder: Path, indexes: bool) -> dict[str, float]:
    """Fill a collection in another process, and return its bytes per image once it is open again in a third."""
    for step in ("fill", "open"):
        command = [sys.executable, "-m", "benchmarks.capacity", f"--{step}", str(folder), *(["--indexes"] * indexes)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes: dict[str, float] = json.loads(answer)
    return sizes


def _fill(folder: str, indexes: bool) -> None:
    from t2c_search.decoding.metadata import PAYLOAD_INDEXES
    from t2c_search.stores import build_index, open_store
    from t2c_search.stores.protocol import CollectionSpec
    from t2c_search.types import CLIP, Points

    rng = np.random.default_rng(0)
    store = open_store(folder, "capacity")
    store.create(CollectionSpec.of({CLIP: PROBE_DIM}, PAYLOAD_INDEXES if indexes else {}))
    for _ in range(0, POINTS, 256):
        ids = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(256)]
        vectors = rng.normal(size=(256, PROBE_DIM)).astype(np.float32)
        store.upsert(Points(ids, [_payload(i, rng) for i in ids], {CLIP: vectors}))
    store.flush()
    store.close()
    build_index(folder, "capacity")


def _open(folder: str) -> None:
    from t2c_search.stores import open_store

    before = _own_memory()
    store = open_store(folder, "capacity")
    assert store.count() == POINTS
    memory = _own_memory() - before
    files = [file for file in Path(folder).rglob("*") if file.is_file() and "wal" not in file.parts]  # it does not grow
    disk = sum(512 * file.stat().st_blocks for file in files)
    print(json.dumps({"memory": memory / POINTS, "disk": disk / POINTS}))
    store.close()


def _own_memory() -> int:
    """Return this process's resident memory without mapped files, in bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure anew, and keep the figures")
    for step in ("--fill", "--open"):
        parser.add_argument(step, help=argparse.SUPPRESS)
    parser.add_argument("--indexes", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.fill:
        _fill(chosen.fill, chosen.indexes)
    elif chosen.open:
        _open(chosen.open)
    else:
        if chosen.measure:
            (RESULTS / "capacity.json").write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
        print(tables(figures()))


if __name__ == "__main__":
    main()
