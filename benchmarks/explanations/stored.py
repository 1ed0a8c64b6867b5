"""Kept factors: what they cost beside indexing, what they take, how like the whole ones their maps are, and what finds more.

Cost: the same pictures are indexed with and without them, in turn, by transformers of random weights whose aligner is given, so
that all that counts is the forward pass. Likeness: maps of nouns over photographs, or of shapes over drawn scenes, against
those of the whole factors. Regions: drawn scenes ranked for "a red star" by the whole image and by ``anywhere``, several ways
to compare a place with a text; "small" counts as right only scenes whose red star is small, and leaves the others out.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from benchmarks._captions import NOUNS, average_precision, phrase
from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.explanations._models import BATCH, Model, align, embed
from t2c_search.attribution import stored
from t2c_search.attribution.explained import Explained
from t2c_search.attribution.projection import hold
from t2c_search.collection import open_collection
from t2c_search.collection.fitting import fit
from t2c_search.demo import words
from t2c_search.demo.words import with_article
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders import registry
from t2c_search.types import FACTORS, NATIVE, Points

if TYPE_CHECKING:
    from collections.abc import Iterator

POOL_SEED, FIT_SEED, PICTURE_SEED = 511, 512, 513  # no recipe's seeds
COSTS = {"exact": ({"global_pool": "avg"}, 1.05), "analytic": ({}, 1.4)}
"""By method: what makes a transformer of that kind, and the most that indexing with factors may take, of indexing without."""
HITS, LOCATED_SECONDS, LIKENESS = 100, 1.0, 0.98
REGIONS = ("the whole image", "largest share", "direction of a share", "anywhere")


def measure(quick: bool) -> Measured:
    likeness, kept = _likeness(quick)
    regions = _regions(120 if quick else 1500, 300 if quick else 2000)
    costs = _costs("vit_tiny_patch16_224" if quick else "vit_base_patch16_224", 32 if quick else 64, 1 if quick else 3)
    located = _located(quick)
    shown = ("bytes", "components", "mean", "5 %", "least")
    tables = [
        table("Kept factors: cosine of maps with those of the whole factors", likeness, shown),
        table("Average precision of colour and shape in drawn scenes", regions, REGIONS),
        table("Indexing with factors, in times of indexing without", costs, ("seconds without", "ratio", "bar")),
        table(f"{HITS} hits for a new text, files removed", {"locate": located}, ("seconds", "bytes per image")),
    ]
    bars = [Bar(f"cosine of maps, {name}", likeness[name]["mean"], LIKENESS) for name in kept]
    bars += [Bar(f"indexing with factors, {name}", row["ratio"], row["bar"], most=True) for name, row in costs.items()]
    bars.append(Bar("seconds to locate a text in 100 hits", located["seconds"], LOCATED_SECONDS, most=True))
    return Measured({"likeness": likeness, "regions": regions, "costs": costs, "located": located}, tables, bars)


# Likeness


def _likeness(quick: bool) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """By model, space and number of components; and which of them are kept."""
    rows: dict[str, dict[str, Any]] = {}
    kept: list[str] = []
    for name, model, batches, texts in _looked_at(quick):
        directions = normalize(model.texts(texts))
        for native in (False, True) if model.aligner else (False,):
            for rank in (16, 24, stored.RANK):
                with _components(rank):
                    row = _compared(model, batches, directions, native)
                space = "its backbone's space" if native else "CLIP space"
                rows[f"{name}, {space}, {row['components']}"] = row
            kept.append(list(rows)[-1])
    return rows, kept


@contextmanager
def _components(rank: int) -> Iterator[None]:
    former, stored.RANK = stored.RANK, rank
    try:
        yield
    finally:
        stored.RANK = former


def _looked_at(quick: bool) -> Iterator[tuple[str, Model, list[Tensor], list[str]]]:
    """Yield models with what they see of pictures, and texts to ask for."""
    clip = registry.load("mini", device="cpu")
    scenes = list(draw(POOL_SEED, BATCH if quick else 4 * BATCH))
    backbone = registry.load("mini:cnn", device="cpu")
    model = _aligned(backbone, clip, 300 if quick else 2000)
    names = [with_article(names[0]) for names in words.SHAPES.values()]
    yield "drawn scenes, mini:cnn", model, _batches(backbone, [Image.fromarray(scene.image) for scene in scenes]), names
    if (real := real_data()) is None or quick:
        return
    clip = registry.load(f"open_clip:local-dir:{real}/open_clip/flickr-mini", device="cpu")
    files = sorted((real / "photos" / "images").iterdir())[: 24 * BATCH]
    pictures = [Image.open(file).convert("RGB") for file in files[: 4 * BATCH]]
    others = [Image.open(file).convert("RGB") for file in files[4 * BATCH :]]
    nouns = [phrase(noun) for noun in NOUNS.split()]
    yield (
        "photographs, flickr-mini",
        Model(clip, None, clip, torch.zeros(clip.image_dim)),
        _batches(clip, pictures),
        nouns,
    )  # type: ignore[union-attr, arg-type]
    for name in ("mobilenetv1_100", "mobilenetv2_100"):
        backbone = registry.load(f"timm:local-dir:{real}/timm/{name}", device="cpu")
        x, y = (embed(encoder, [lambda each=each: each for each in others]) for encoder in (backbone, clip))
        model = align(backbone, clip, [str(number) for number in range(len(others))], x, y)  # type: ignore[arg-type]
        yield f"photographs, {name}", model, _batches(backbone, pictures), nouns


def _batches(encoder: Any, pictures: Sequence[Image.Image]) -> list[Tensor]:
    prepared = torch.stack([encoder.prepare(picture) for picture in pictures])
    return list(prepared.split(BATCH))


def _compared(model: Model, batches: Sequence[Tensor], directions: Tensor, native: bool) -> dict[str, Any]:
    found, size, components = [], 0, 0
    for batch in batches:
        told = Explained(model.encoder).explain(batch)
        codes = stored.encode(told, model.aligner, native=native)
        points = Points([""] * len(codes), vectors={NATIVE: told.vectors.numpy()}, multivectors={FACTORS: codes})
        ((_, kept),) = stored.FactorReader(native, lambda: model.aligner, told.method).read(points)
        size, components = codes[0].size, stored.decode(codes)[0][1].left.shape[2]
        whole = hold(told.vectors, model.aligner).map(told.parts)
        rows = torch.from_numpy(kept.left @ kept.right)[:, 1:]
        found.append(cosine_similarity(rows @ directions.T, whole @ directions.T, dim=1))
    likeness = torch.cat(found)
    return {
        "bytes": size,
        "components": components,
        "mean": likeness.mean().item(),
        "5 %": likeness.flatten().quantile(0.05).item(),
        "least": likeness.min().item(),
    }


def _aligned(backbone: Any, clip: Any, number: int) -> Model:
    scenes = list(draw(FIT_SEED, number))
    pictures = [lambda scene=scene: Image.fromarray(scene.image) for scene in scenes]
    return align(
        backbone, clip, [str(scene.index) for scene in scenes], embed(backbone, pictures), embed(clip, pictures)
    )


# Regions


def _regions(number: int, fitted: int) -> dict[str, dict[str, float]]:
    """Average precision over all pairs of a colour and a shape that some scenes show, by model and size."""
    clip = registry.load("mini", device="cpu")
    scenes = list(draw(POOL_SEED, number))
    pairs = [(colour, shape) for colour in words.COLOURS for shape in words.SHAPES]
    texts = [with_article(f"{words.COLOURS[colour][0]} {words.SHAPES[shape][0]}") for colour, shape in pairs]
    rows: dict[str, dict[str, float]] = {}
    for model in (
        Model(clip, None, clip, torch.zeros(256)),
        _aligned(registry.load("mini:cnn", device="cpu"), clip, fitted),
    ):  # type: ignore[arg-type, union-attr]
        scores = _scores(model, scenes, normalize(model.texts(texts)))
        for size in ("any", "small"):
            found = []
            for at, pair in enumerate(pairs):
                own = {name: each[:, at] for name, each in scores.items()}
                found.append(_precisions(scenes, pair, size, own))
            there = [each for each in found if each]
            rows[f"{model.encoder.id}, {size} size"] = {
                name: float(np.mean([each[name] for each in there])) for name in REGIONS
            }
    return rows


def _scores(model: Model, scenes: Sequence[Scene], directions: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    factors = model.factors([lambda scene=scene: Image.fromarray(scene.image) for scene in scenes])
    regions = (factors.vectors - factors.parts.sum(1)).unsqueeze(1) + factors.parts.shape[1] * factors.parts
    found = {
        "the whole image": factors.vectors @ directions.T,
        "largest share": (factors.parts @ directions.T).amax(1),
        "direction of a share": (normalize(factors.parts, dim=2) @ directions.T).amax(1),
        "anywhere": (normalize(regions, dim=2) @ directions.T).amax(1),
    }
    return {name: each.numpy() for name, each in found.items()}


def _precisions(
    scenes: Sequence[Scene], pair: tuple[str, str], size: str, scores: dict[str, np.ndarray[Any, Any]]
) -> dict[str, float]:
    """Average precision by way; nothing where not two scenes show what is asked for."""
    sizes = [{thing.size for thing in scene.truth.things if (thing.colour, thing.shape) == pair} for scene in scenes]
    right = np.array([bool(each) if size == "any" else size in each for each in sizes])
    counted = np.array([size == "any" or size in each or not each for each in sizes])
    if right.sum() < 2:
        return {}
    return {
        name: average_precision(np.argsort(-each[counted], kind="stable"), right[counted])
        for name, each in scores.items()
    }


# Costs


def _costs(architecture: str, number: int, times: int) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        rng = np.random.default_rng(PICTURE_SEED)
        for at in range(number):
            Image.fromarray(rng.integers(0, 256, (224, 224, 3), np.uint8)).save(pictures / f"{at}.png")
        for method, (arguments, bar) in COSTS.items():
            backbone = _random_model(Path(folder) / method, architecture, arguments)
            aligner = Path(folder) / f"{method}.safetensors"
            fit([pictures], backbone=backbone, clip="mini", pairs=20, device="cpu").save(aligner)
            taken: dict[bool, list[float]] = {False: [], True: []}
            for at in range(2 * times):
                explainable = bool(at % 2)
                with open_collection(
                    "photos", f"{folder}/{method}-{at}", clip="mini", backbone=backbone, device="cpu"
                ) as photos:
                    started = time.process_time()  # of all threads, whatever else the machine does
                    report = photos.index(pictures, aligner=aligner, explainable=explainable)
                    assert report.indexed == number
                taken[explainable].append(time.process_time() - started)
            without = median(taken[False])
            ratio = median(one / other for one, other in zip(taken[True], taken[False], strict=True))
            rows[f"{architecture}, {method}"] = {"seconds without": without, "ratio": ratio, "bar": bar}
    return rows


def _random_model(folder: Path, architecture: str, arguments: dict[str, Any]) -> str:
    torch.manual_seed(0)
    model = timm.create_model(architecture, **arguments)
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": architecture, "pretrained_cfg": model.pretrained_cfg, "model_args": arguments}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    return f"timm:local-dir:{folder}"


def _located(quick: bool) -> dict[str, float]:
    """Index drawn scenes, remove their files, and locate a text in the hits of another."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        for scene in draw(PICTURE_SEED, HITS if quick else 4 * HITS):
            Image.fromarray(scene.image).save(pictures / f"{scene.index}.png")
        with open_collection("photos", f"{folder}/store", clip="mini", backbone="mini:cnn", device="cpu") as photos:
            photos.index(pictures, explainable=True)
            hits = photos.search("a red star", limit=HITS).hits
            shutil.rmtree(pictures)
            started = time.perf_counter()
            found = photos.locate("a blue circle", hits)
            seconds = time.perf_counter() - started
            assert len(found.maps) == HITS
            points = photos.store.fetch([hits[0].id], vectors=(FACTORS,))
    return {"seconds": seconds, "bytes per image": points.multivectors[FACTORS][0].size}
