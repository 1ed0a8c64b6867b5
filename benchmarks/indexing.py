"""Images per second from files on the disk to aligned vectors in the embedded store, against what else one would run.

    python -m benchmarks.indexing

Data: photographs of 12 megapixels, made on the spot from ``photos_fullsize``, and the small ones of ``photos``. Models:
timm architectures with random weights, which take the same time as trained ones. Per model and data set, by turns:

* ``forward``: the model alone on ready tensors, the limit;
* ``t2c``: our indexing run, alignment to 512 dimensions and the embedded store included;
* ``encode()``: what ``SentenceTransformer.encode`` does: open, prepare and embed one batch after the other;
* ``DataLoader``: the usual loop, as many worker processes as processors.

``decode`` is our reading and decoding alone, in as many threads as processors. On a CPU it shares the processors with the
model, so that ``shared``, images per second when both take their turns, is the most that any indexer can reach.

Memory (Linux): peak resident size of a process that indexes 20,000 small images against one that indexes 2,000.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch
from PIL import Image
from timm.models import save_for_hf
from torch.utils.data import DataLoader, Dataset

from benchmarks._captions import REAL
from benchmarks._common import Bar, finish, options, table
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.indexing.decode import decode
from t2c_search.indexing.metadata import PAYLOAD_INDEXES
from t2c_search.indexing.pipeline import index_images
from t2c_search.indexing.sources import list_images
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import CLIP
from tests.indexing.memory import DiscardingStore

MODELS = {"MobileNetV2": "mobilenetv2_100", "ViT-B/32": "vit_base_patch32_224", "ViT-B/16": "vit_base_patch16_224"}
LARGE, SMALL = "12 megapixels", "photos"
PIXELS = 12_000_000
BATCH = 32
ALIGNED = 512
IMAGES = 48  # of 12 megapixels; twice as many small ones
ROUNDS = 2
COLUMNS = [
    "forward",
    "t2c",
    "encode()",
    "DataLoader",
    "decode",
    "shared",
    "t2c/forward",
    "t2c/encode()",
    "t2c/DataLoader",
]


def make_large(folder: Path, count: int) -> list[str]:
    """Write ``count`` JPEGs of 12 megapixels, no two alike."""
    photos = sorted((REAL / "photos_fullsize").iterdir())
    for i in range(count):
        with Image.open(photos[i % len(photos)]) as photo:
            scale = (PIXELS / (photo.width * photo.height)) ** 0.5
            size = (round(photo.width * scale), round(photo.height * scale))
            photo.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(
                folder / f"{i:05}.jpg", quality=90, comment=str(i)
            )
    return [str(path) for path in sorted(folder.iterdir())]


def make_model(folder: Path, architecture: str) -> str:
    """Write a timm local-dir with random weights; return its encoder id."""
    torch.manual_seed(0)
    save_for_hf(timm.create_model(architecture, pretrained=False, num_classes=0), folder, safe_serialization=True)
    return f"timm:local-dir:{folder}"


class _Files(Dataset[torch.Tensor]):
    """Files as a plain user's data set: opened in full, converted, transformed."""

    def __init__(self, paths: Sequence[str], transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def measure(encoder_id: str, paths: list[str], rounds: int) -> dict[str, float]:
    """Median images per second of each way to embed the files, taken by turns."""
    encoder = registry.load_image_encoder(encoder_id, device="cpu")
    module: Any = encoder.module  # type: ignore[attr-defined]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module), is_training=False)
    files = _Files(paths, transform)
    inputs = list_images(paths)
    decode_size = encoder.decode_size
    ready = torch.stack([encoder.prepare(decode(Path(path).read_bytes(), decode_size).pixels, path) for path in paths])
    matrix = torch.randn(encoder.image_dim, ALIGNED) / encoder.image_dim**0.5

    def project(rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(rows @ matrix, dim=1)

    def forward() -> None:
        for batch in ready.split(BATCH):
            encoder.encode_images(batch)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(folder, "bench")
            store.create(CollectionSpec({CLIP: ALIGNED}, PAYLOAD_INDEXES))
            report = index_images(
                inputs, store=store, load_encoder=lambda: encoder, load_projection=lambda: project, batch_size=BATCH
            )
            store.close()
            assert report.indexed == len(paths)

    @torch.inference_mode()
    def one_after_the_other() -> None:
        for start in range(0, len(files), BATCH):
            module(torch.stack([files[i] for i in range(start, min(start + BATCH, len(files)))]))

    @torch.inference_mode()
    def data_loader() -> None:
        for batch in DataLoader(files, batch_size=BATCH, num_workers=os.cpu_count() or 1):
            module(batch)

    def decoding() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(
                pool.map(lambda path: encoder.prepare(decode(Path(path).read_bytes(), decode_size).pixels, path), paths)
            )

    ways = {
        "DataLoader": data_loader,
        "encode()": one_after_the_other,
        "forward": forward,
        "t2c": ours,
        "decode": decoding,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    rates = {name: len(paths) / median(times) for name, times in seconds.items()}
    rates["shared"] = 1 / (1 / rates["forward"] + 1 / rates["decode"])
    return rates | {f"t2c/{peer}": rates["t2c"] / rates[peer] for peer in ("forward", "encode()", "DataLoader")}


class Discarding(DiscardingStore):
    """A store of 512 dimensions that forgets every point it is given."""

    def spec(self) -> CollectionSpec:
        return CollectionSpec({CLIP: ALIGNED}, {})


def peak_bytes(folder: str, count: int, location: str | None) -> int:
    """Index ``count`` scenes from the folder and return this process's peak resident size; None: into no store."""
    encoder = registry.load_image_encoder("mini:cnn", device="cpu")
    matrix = torch.randn(encoder.image_dim, ALIGNED)
    store: Any = Discarding()
    if location is not None:
        store = open_store(location, f"bench{count}")
        store.create(CollectionSpec({CLIP: ALIGNED}, PAYLOAD_INDEXES))
    report = index_images(
        list_images(sorted(str(path) for path in Path(folder).iterdir())[:count]),
        store=store,
        load_encoder=lambda: encoder,
        load_projection=lambda: lambda rows: torch.nn.functional.normalize(rows @ matrix, dim=1),
        batch_size=BATCH,
    )
    assert report.indexed == count
    # not getrusage: its peak is inherited from the process that started this one
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def memory(few: int, many: int) -> dict[str, float]:
    """MiB that the larger run took more, into nothing and into the embedded store; and the added vectors' own MiB."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as store:
        for scene in draw(1, many):
            Image.fromarray(scene.image).save(Path(folder) / f"{scene.index:06}.jpg", quality=85)
        grown = {}
        for name, location in (("discarded", None), ("embedded store", store)):
            less, more = (_alone(peak_bytes, folder, count, location) for count in (few, many))
            grown[name] = (more - less) / 2**20
    return grown | {"vectors": (many - few) * ALIGNED * 4 / 2**20}


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, which has no store open yet and no memory used."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def bars(rates: dict[str, dict[str, float]], grown: dict[str, float]) -> list[Bar]:
    """What the figures must reach."""
    asked = [
        Bar(f"{name}: t2c / forward alone", row["t2c/forward"], 0.9)
        for name, row in rates.items()
        if row["forward"] < row["decode"]
    ]
    mobile = rates[f"MobileNetV2, {LARGE}"]
    asked += [
        Bar(f"MobileNetV2, {LARGE}: t2c / encode()", mobile["t2c/encode()"], 3),
        Bar(f"MobileNetV2, {LARGE}: t2c / DataLoader", mobile["t2c/DataLoader"], 2),
        Bar("50 MiB / memory grown by 18,000 images, discarded", 50 / max(grown["discarded"], 1e-9), 1),
        Bar(
            "1.5 x vectors / memory grown by 18,000 images, embedded store",
            1.5 * grown["vectors"] / max(grown["embedded store"], 1e-9),
            1,
        ),
    ]
    return asked


def main() -> int:
    chosen = options("indexing", __doc__)
    images, rounds = (16, 1) if chosen.quick else (IMAGES, ROUNDS)
    models = {"MobileNetV2": MODELS["MobileNetV2"]} if chosen.quick else MODELS
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "large").mkdir()
        small = [str(path) for path in sorted((REAL / "photos" / "images").iterdir())[: 2 * images]]
        data_sets = {LARGE: make_large(Path(scratch) / "large", images), SMALL: small}
        for model, architecture in models.items():
            encoder_id = make_model(Path(scratch) / architecture, architecture)
            for data_set, paths in data_sets.items():
                rates[f"{model}, {data_set}"] = _alone(measure, encoder_id, paths, rounds)
    grown = memory(200, 1000) if chosen.quick else memory(2_000, 20_000)
    shown = [
        table("images per second, and ratios", rates, COLUMNS),
        table("MiB of memory that the larger run took more", {"peak": grown}, list(grown)),
    ]
    return finish("indexing", chosen, {"images_per_second": rates, "memory_mib": grown}, shown, bars(rates, grown))


if __name__ == "__main__":
    sys.exit(main())
