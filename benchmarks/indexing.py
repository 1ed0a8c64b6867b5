"""Images per second from files on the disk to aligned vectors in the embedded store, against what else one would run.

    python -m benchmarks.indexing

Data: photographs of 12 megapixels, made on the spot from ``photos_fullsize``, and the small ones of ``photos``. Models:
timm architectures with random weights, which take the same time as trained ones. Per model and data set, by turns:

* ``forward``: the model alone on ready tensors, the limit;
* ``t2c``: our indexing run into an embedded collection that is made before, alignment to 512 dimensions included;
* ``encode()``: what ``SentenceTransformer.encode`` does: open, prepare and embed one batch after the other;
* ``DataLoader``: the usual loop, as many worker processes as processors;
* ``clip-retrieval``: its reader, runner and writer with the same model, in the Python that ``CLIP_RETRIEVAL_PYTHON`` names.

``decode`` is our reading and decoding alone, in as many threads as processors. On a CPU it shares the processors with the
model, so that ``shared``, images per second when both take their turns, is the most that any indexer can reach. ``limit``
is ``forward`` where decoding takes at most a tenth of the processor time that the model takes; only there can an indexer
come to 90 % of ``forward``, and only there it must. Where there is a CUDA device the models run there, in bfloat16, and an
indexer must come to 80 % wherever decoding is no slower than the model.

What ``t2c index`` sets for its whole process (``keep_freed_memory``, ``sleep_while_waiting``), every way runs with.

Memory (Linux): peak resident size of a process that indexes 20,000 small images against one that indexes 2,000. It
counts the pages of the store's files that the engine has mapped, which the system takes back when it needs them; ``private``
is what was the process's alone, at the end of the run.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
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
from t2c_search.decoding.decode import decode
from t2c_search.decoding.metadata import PAYLOAD_INDEXES
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.indexing.allocation import keep_freed_memory, sleep_while_waiting
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.settings import Device, Dtype
from t2c_search.sources import list_images
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.types import CLIP
from tests.indexing.memory import DiscardingStore

MODELS = {"MobileNetV2": "mobilenetv2_100", "ViT-B/32": "vit_base_patch32_224", "ViT-B/16": "vit_base_patch16_224"}
LARGE, SMALL = "12 megapixels", "photos"
PIXELS = 12_000_000
DEVICE: Device = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE: Dtype = "bfloat16" if DEVICE == "cuda" else "float32"
BATCH = 256 if DEVICE == "cuda" else 32
ALIGNED = 512
IMAGES = 1024 if DEVICE == "cuda" else 64  # of 12 megapixels; twice as many small ones
ROUNDS = 2
COLUMNS = ["forward", "t2c", "encode()", "DataLoader", "clip-retrieval", "decode", "shared", "limit"]
RATIOS = ["t2c/forward", "t2c/shared", "t2c/encode()", "t2c/DataLoader", "t2c/clip-retrieval"]
_KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}  # what keep_freed_memory sets, as glibc reads it


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


def measure(encoder_id: str, paths: list[str], rounds: int) -> dict[str, Any]:
    """Median images per second of each way to embed the files, taken by turns."""
    keep_freed_memory()
    encoder = registry.load_image_encoder(encoder_id, device=DEVICE, dtype=DTYPE)
    module: Any = encoder.module  # type: ignore[attr-defined]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module), is_training=False)
    files = _Files(paths, transform)
    inputs = list_images(paths)
    decode_size = encoder.decode_size
    ready = torch.stack([encoder.prepare(decode(Path(path).read_bytes(), decode_size).pixels) for path in paths])
    matrix = torch.randn(encoder.image_dim, ALIGNED, device=DEVICE) / encoder.image_dim**0.5

    def project(rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(rows @ matrix, dim=1)

    def forward() -> None:
        for batch in ready.split(BATCH):
            encoder.encode_images(batch)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    @torch.inference_mode()
    def embed(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            return module(batch.to(DEVICE)).cpu()  # type: ignore[no-any-return]

    def ours() -> None:
        report = index_images(inputs, Run(stores.pop(), lambda: (encoder, project)), LocalEmbedder(Batching(BATCH)))
        assert report.indexed == len(paths)

    def one_after_the_other() -> None:
        for start in range(0, len(files), BATCH):
            embed(torch.stack([files[i] for i in range(start, min(start + BATCH, len(files)))]))

    def data_loader() -> None:
        for batch in DataLoader(files, batch_size=BATCH, num_workers=os.cpu_count() or 1):
            embed(batch)

    def decoding() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda path: encoder.prepare(decode(Path(path).read_bytes(), decode_size).pixels), paths))

    ways = {
        "DataLoader": data_loader,
        "encode()": one_after_the_other,
        "forward": forward,
        "t2c": ours,
        "decode": decoding,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        stores = [opened.enter_context(closing(_made(folder, f"round{number}"))) for number in range(rounds)]
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
    rates = {name: len(paths) / median(times) for name, times in seconds.items()}
    rates["shared"] = 1 / (1 / rates["forward"] + 1 / rates["decode"])
    return rates


def _made(location: str, name: str) -> VectorStore:
    """Make an embedded collection, which a run of a million images does once."""
    store = open_store(location, name)
    store.create(CollectionSpec.of({CLIP: ALIGNED}, PAYLOAD_INDEXES))
    return store


def clip_retrieval(model_folder: Path, image_folder: Path, images: int, rounds: int) -> dict[str, float]:
    """Images per second of clip-retrieval's inference, median of the rounds; nothing where it is not installed."""
    python = os.environ.get("CLIP_RETRIEVAL_PYTHON", sys.executable)
    script = Path(__file__).parent / "_clip_retrieval.py"
    command = [python, script, model_folder, image_folder, str(BATCH), str(rounds)]
    done = subprocess.run(command, env=os.environ | _KEPT, capture_output=True, text=True)
    if "No module named 'clip_retrieval'" in done.stderr:
        return {}
    if done.returncode:
        raise RuntimeError(f"clip-retrieval failed: {done.stderr}")
    return {
        "clip-retrieval": images
        / median(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds"))
    }


def compared(rates: dict[str, Any]) -> dict[str, Any]:
    """Add to a row of images per second what limits it, and how we compare."""
    peers = [peer for peer in ("forward", "shared", "encode()", "DataLoader", "clip-retrieval") if peer in rates]
    apart = DEVICE == "cuda"  # the processors decode while the GPU computes
    limit = "forward" if rates["forward"] * (1 if apart else 10) <= rates["decode"] else "both"
    return rates | {"limit": limit} | {f"t2c/{peer}": rates["t2c"] / rates[peer] for peer in peers}


class Discarding(DiscardingStore):
    """A store of 512 dimensions that forgets every point it is given."""

    def spec(self) -> CollectionSpec:
        return CollectionSpec.of({CLIP: ALIGNED}, {})


def resident(folder: str, count: int, location: str | None) -> dict[str, float]:
    """Index ``count`` scenes from the folder; return this process's resident MiB by figure. None: into no store."""
    encoder = registry.load_image_encoder("mini:cnn", device="cpu")
    matrix = torch.randn(encoder.image_dim, ALIGNED)
    store: Any = Discarding()
    if location is not None:
        store = _made(location, f"bench{count}")
    run = Run(store, lambda: (encoder, lambda rows: torch.nn.functional.normalize(rows @ matrix, dim=1)))
    inputs = list_images(sorted(str(path) for path in Path(folder).iterdir())[:count])
    report = index_images(inputs, run, LocalEmbedder(Batching(BATCH)))
    assert report.indexed == count
    # not getrusage: its peak is inherited from the process that started this one
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"peak": int(status["VmHWM"].split()[0]) / 1024, "private": int(status["RssAnon"].split()[0]) / 1024}


def memory(few: int, many: int) -> dict[str, dict[str, float]]:
    """MiB that the larger run took more, by figure, into nothing and the embedded store; and the added vectors' own."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as store:
        for scene in draw(1, many):
            Image.fromarray(scene.image).save(Path(folder) / f"{scene.index:06}.jpg", quality=85)
        vectors = (many - few) * ALIGNED * 4 / 2**20
        grown: dict[str, dict[str, float]] = {figure: {"vectors": vectors} for figure in ("peak", "private")}
        for name, location in (("discarded", None), ("embedded store", store)):
            less, more = (_alone(resident, folder, count, location) for count in (few, many))
            for figure, row in grown.items():
                row[name] = more[figure] - less[figure]
    return grown


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, which has no store open yet and no memory used."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def bars(rates: dict[str, dict[str, Any]], grown: dict[str, float]) -> list[Bar]:
    """What the figures must reach."""
    asked = [
        Bar(f"{name}: t2c / forward alone", row["t2c/forward"], 0.8 if DEVICE == "cuda" else 0.9)
        for name, row in rates.items()
        if row["limit"] == "forward"
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
    sleep_while_waiting()  # for the processes that are started; this one's torch is there
    images, rounds = (16, 1) if chosen.quick else (IMAGES, ROUNDS)
    models = {"MobileNetV2": MODELS["MobileNetV2"]} if chosen.quick else MODELS
    rates: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        large, small = Path(scratch) / "large", Path(scratch) / "small"
        for folder in (large, small):
            folder.mkdir()
        for photo in sorted((REAL / "photos" / "images").iterdir())[: 2 * images]:
            shutil.copy(photo, small)
        data_sets = {LARGE: make_large(large, images), SMALL: [str(path) for path in sorted(small.iterdir())]}
        for model, architecture in models.items():
            encoder_id = make_model(Path(scratch) / architecture, architecture)
            for data_set, paths in data_sets.items():
                row = _alone(measure, encoder_id, paths, rounds)
                peer = clip_retrieval(Path(scratch) / architecture, Path(paths[0]).parent, len(paths), rounds)
                rates[f"{model}, {data_set}"] = compared(row | peer)
    if not any("clip-retrieval" in row for row in rates.values()):
        print("clip-retrieval: not installed", file=sys.stderr)
    grown = memory(200, 1000) if chosen.quick else memory(2_000, 20_000)
    shown = [
        table("images per second", rates, COLUMNS),
        table("images per second of t2c, times those of the others", rates, RATIOS),
        table("MiB of memory that the larger run took more", grown, list(grown["peak"])),
    ]
    found = {"images_per_second": rates, "memory_mib": grown}
    return finish("indexing", chosen, found, shown, bars(rates, grown["peak"]))


if __name__ == "__main__":
    sys.exit(main())
