"""What factors cost: seconds and memory of each way, as ratios to one forward pass, with random weights and decoded images.

    python -m benchmarks.explanations.cost [--quick] [--exclip PYTHON]

measures this part alone. PYTHON is an interpreter of an environment of its own that has ``exclip``, the authors' package, and
open_clip and torch of the versions here: it then explains the same picture with the same random weights, beside ours.

Seconds are the processor's, of all its threads, so that other programs do not count; on a GPU the clock's.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from rich.console import Console
from torch import Tensor

from benchmarks._common import Bar, table
from benchmarks._parts import Measured
from benchmarks.explanations._exclip import AGREEMENT, MODEL, beside_ours
from t2c_search.alignment.aligner import Aligner
from t2c_search.attribution import analytic, banzhaf, exact, jacobian
from t2c_search.attribution.projection import hold
from t2c_search.encoders.adapters.open_clip import OpenClipEncoder
from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.encoders.adapters.timm import anatomy_of
from t2c_search.encoders.adapters.tower import ImageTower
from t2c_search.encoders.placement import Placement

COLUMNS = ("seconds", "of a forward pass", "MB", "of a forward pass's")
SQUARE = Preprocessing.split(open_clip.image_transform(224, is_train=False), None)
Run = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Spent:
    """What a run took: seconds, and MB beyond what was held before."""

    seconds: float
    megabytes: float

    def beside(self, forward: Spent) -> dict[str, Any]:
        values = (self.seconds, self.seconds / forward.seconds, self.megabytes, self.megabytes / forward.megabytes)
        return dict(zip(COLUMNS, values, strict=True))


def measure(quick: bool) -> Measured:
    size, images, repeats = ("S", 4, 1) if quick else ("B", 16, 3)
    clip = clip_model(f"ViT-{size}-16")
    average = {"class_token": False, "global_pool": "avg"}
    width = {"S": "small", "B": "base"}[size]
    averaging = {
        f"ViT-{size}/16 that averages": tower(f"vit_{width}_patch16_224", **average),
        "ResNet-50": tower("resnet50"),
    }
    rows = {f"ViT-{size}/16, class token, {images} images": ratios(clip, by_class_token(clip), images, repeats)}
    rows |= {
        f"{name}, {images} images": ratios(encoder, {"exact": through_an_aligner(encoder)}, images, repeats)
        for name, encoder in averaging.items()
    }
    rows[f"ViT-{size}/16, class token, 1 image"] = ratios(clip, dear(clip, quick), 1, 1)
    bars = [  # of ViT-B/16; quick, a smaller one has fewer images to share the reference
        Bar(f"forward and factors, {way}: {name}", spent[COLUMNS[1]], at_most, most=True)
        for name, ways in rows.items()
        for way, spent in ways.items()
        for at_most in [{"analytic, 4 nodes": 1.4, "exact": 1.05}.get(way)]
        if at_most and not quick
    ]
    return Measured(rows, [table(name, ways, COLUMNS) for name, ways in rows.items()], bars)


def by_class_token(encoder: OpenClipEncoder) -> dict[str, Run]:
    return {
        f"analytic, {nodes} nodes": lambda pixels, nodes=nodes: analytic.factors(encoder, None, pixels, nodes)
        for nodes in (4, 10)
    }


def dear(encoder: OpenClipEncoder, quick: bool) -> dict[str, Run]:
    """Return the ways that only one image is given, and, if quick, fewer masks and dimensions (a row's name says so)."""
    masks, dimensions = (2, 2) if quick else (64, encoder.image_dim)
    grid = banzhaf.Masks((14, 14), number=masks)
    return {
        "analytic, 4 nodes (the reference is a second image)": lambda pixels: analytic.factors(
            encoder, None, pixels, 4
        ),
        f"banzhaf, {masks} masks": lambda pixels: banzhaf.factors(encoder, None, pixels, grid),
        f"jacobian, 4 nodes, {dimensions} dimensions": lambda pixels: some_jacobian(encoder, pixels, dimensions),
        f"as published, 10 nodes, {dimensions} dimensions": lambda pixels: as_published(encoder, pixels, dimensions),
    }


def some_jacobian(encoder: ImageTower, pixels: Tensor, dimensions: int) -> Tensor:
    cut = jacobian.cut_at(encoder, pixels)
    with torch.no_grad():
        held = hold(cut.read(cut.values[:-1]), None)
    return jacobian.along(cut, held, torch.eye(encoder.image_dim, device=pixels.device)[:dimensions], nodes=4)


def as_published(encoder: ImageTower, pixels: Tensor, dimensions: int) -> Tensor:
    """Integrate one image's Jacobian as the public code does: a backward pass a dimension, 10 nodes of a Riemann sum."""
    cut = jacobian.cut_at(encoder, pixels)
    delta = cut.values[:1] - cut.values[1:]
    nodes = (torch.arange(1, 11, device=pixels.device) / 10).view(-1, 1, 1)
    with torch.enable_grad():
        at = (cut.values[1:] + nodes * delta).requires_grad_()
        rows = cut.read(at)
        gradients = [torch.autograd.grad(rows[:, d].sum(), at, retain_graph=True)[0].mean(0) for d in range(dimensions)]
    return torch.stack([(gradient * delta[0]).sum(1) for gradient in gradients], 1)


def ratios(encoder: ImageTower, runs: Mapping[str, Run], images: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Measure runs over pictures of noise in turn; the least of a few times counts."""
    noise = torch.randn(images, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(encoder.device)
    runs = {"a forward pass": torch.no_grad()(encoder.embed), **runs}
    runs["a forward pass"](noise[:1])  # what is built once
    spent: dict[str, list[Spent]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            spent[name].append(spend(lambda run=run: run(noise), encoder.device))
    least = {
        name: Spent(min(each.seconds for each in several), min(each.megabytes for each in several))
        for name, several in spent.items()
    }
    return {name: each.beside(least["a forward pass"]) for name, each in least.items()}


def spend(run: Callable[[], Any], device: torch.device) -> Spent:
    """Run, and return the seconds and the most memory that it held at once beyond what was held before."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held, start = torch.cuda.memory_allocated(), time.perf_counter()
        run()
        torch.cuda.synchronize()
        return Spent(time.perf_counter() - start, (torch.cuda.max_memory_allocated() - held) / 1e6)
    held = _resident("VmRSS", fresh=True)
    start = time.process_time()
    run()
    return Spent(time.process_time() - start, _resident("VmHWM") - held)


def _resident(kind: str, fresh: bool = False) -> float:
    """Return MB of this process's memory, now or at most since it was last asked ``fresh``; nan where Linux does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    if fresh:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[kind].split()[0]) / 1000


def clip_model(name: str) -> OpenClipEncoder:
    """Return a CLIP model of open_clip's with random weights."""
    torch.manual_seed(0)
    module, tokenizer = open_clip.create_model(name), open_clip.get_tokenizer(name)
    return OpenClipEncoder(f"random:{name}", module, SQUARE, tokenizer, Placement.choose("auto", "float32"))


def tower(name: str, **given: Any) -> ImageTower:
    """Return a backbone of timm's with random weights."""
    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=0, **given)
    return ImageTower(f"random:{name}", module, SQUARE, Placement.choose("auto", "float32"), anatomy_of(module))


def through_an_aligner(encoder: ImageTower) -> Run:
    """Return the exact factors of a backbone's places, as an aligner into 512 dimensions makes them."""
    weight = torch.randn(encoder.image_dim, 512, generator=torch.Generator().manual_seed(0)) / 50
    axis = torch.nn.functional.one_hot(torch.tensor(0), 512).float()
    aligner = Aligner(None, None, "unit", weight, axis / 2, axis, None)  # type: ignore[arg-type]  # of no real models
    aligner = aligner.to(encoder.device)
    return lambda pixels: exact.factors(encoder, aligner, pixels)  # type: ignore[arg-type]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--exclip", metavar="PYTHON", type=Path)
    chosen = parser.parse_args()
    measured = measure(chosen.quick)
    console = Console(width=None if Console().is_terminal else 120)
    for each in measured.tables:
        console.print(each)
    for bar in measured.bars:
        console.print(f"{'met   ' if bar.met else 'MISSED'} {bar.name}: {bar.value:.3f}, at most {bar.bar}")
    if chosen.exclip:
        rows = beside_ours(chosen.exclip, clip_model(MODEL))
        console.print(table("ViT-B/16, a picture and a text, all of it", rows, ("seconds", "MB", *AGREEMENT)))
    return int(not chosen.quick and not all(bar.met for bar in measured.bars))


if __name__ == "__main__":
    sys.exit(main())
