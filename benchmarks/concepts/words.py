"""Sparse words: the truth of drawn scenes, class vectors of a real classifier, real photographs, and a million vectors."""

from __future__ import annotations

import csv
import re
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from t2c_search.alignment.aligner import Aligner
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.concepts.describe.sparse import SparseWords, unit
from t2c_search.demo.words import BACKGROUNDS, COLOURS, FILLS, SHAPES
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders import registry
from t2c_search.query.planning.texts import Texts
from t2c_search.types import EncoderRef, Fingerprint

WORDS = (*SHAPES, *COLOURS, *FILLS, *BACKGROUNDS)
TOLD = 5
SPLICE = "SpLiCE, its own data and vocabulary: 9 concepts at cosine .54"


def measure(quick: bool) -> Measured:
    drawn, bars = _drawn_world(200 if quick else 4000, 100 if quick else 1000)
    million, more = _million(2_000 if quick else 1_000_000)
    figures = {"drawn": drawn, "million": million}
    tables = [
        table(
            f"Drawn world: {TOLD} of {len(WORDS)} words",
            drawn,
            ("precision", "recall", "told right", "precision of 9", "cosine of 9"),
        ),
        table("Synthetic vectors", million, ("vectors", "words", "seconds", "per second", "MiB at most")),
    ]
    if (folder := real_data()) is not None and not quick:
        figures["photographs"] = photographs = _photographs(folder)
        figures["class vectors"] = classes = _class_vectors(folder)
        tables.append(
            table(
                "684 photographs, ViT-B/32, 1,203 LVIS names", photographs, ("precision", "recall", "words", "cosine")
            )
        )
        tables.append(
            table("Class vectors of MobileNetV2 in LVIS names", classes, ("classes", "first", "in 5", "median rank"))
        )
    return Measured(figures, tables, [*bars, *more])


def _drawn_world(fitted: int, tested: int) -> tuple[dict[str, dict[str, object]], list[Bar]]:
    """Words of scenes, seen by the CLIP model and by a net aligned to it, beside plain cosines and the best constant answer."""
    mini = registry.load("mini", device="cpu")
    net = registry.load("mini:cnn", device="cpu")
    to_fit, scenes = list(draw(31, fitted)), list(draw(32, tested))
    concepts = torch.from_numpy(mini.encode_texts(list(concept_vocabulary("mini"))).numpy())
    aligner = _fit(_see(net, to_fit), _see(mini, to_fit), concepts.numpy())
    texts = Texts(lambda each: mini.encode_texts(list(each)).numpy()).rows(WORDS)
    true = np.array([_truth(scene) for scene in scenes])
    common = np.argsort(-true.mean(axis=0), kind="stable")[:TOLD]
    constant = _score([common] * len(scenes), true)
    found: dict[str, dict[str, object]] = {"best constant answer (control)": constant}
    bars: list[Bar] = []
    for name, rows in (
        ("mini", unit(_see(mini, scenes))),
        ("mini:cnn aligned", aligner(torch.from_numpy(_see(net, scenes))).numpy()),
    ):
        centred = rows - rows.mean(axis=0)
        by_cosine = np.argsort(-centred @ (texts - texts.mean(axis=0)).T, axis=1)
        nine = SparseWords(texts, 9)(centred)
        told = _score([row.places for row in SparseWords(texts, TOLD)(centred)], true)
        found[f"{name}: highest cosines (control)"] = _score(list(by_cosine), true)
        found[f"{name}: sparse words"] = {
            **told,
            "precision of 9": float(np.mean([one[row.places].mean() for one, row in zip(true, nine, strict=True)])),
            "cosine of 9": float(np.mean([row.cosine for row in nine])),
        }
        bars += [
            Bar(
                f"{name}: precision@{TOLD} over the best constant answer's",
                told["precision"] / constant["precision"],
                2,
            ),
            Bar(f"{name}: recall over the best constant answer's", told["recall"] / constant["recall"], 2),
        ]
    found["(ceiling: scenes of fewer words)"] = {"precision": float(np.minimum(true.sum(axis=1), TOLD).mean() / TOLD)}
    found[f"(anchor: {SPLICE})"] = {"cosine of 9": 0.54}
    return found, bars


def _score(told: Sequence[np.ndarray], true: np.ndarray) -> dict[str, float]:
    """Score the first words told: of five, whether or not so many are told, and of those that are true."""
    right = np.array([one[places[:TOLD]].sum() for places, one in zip(told, true, strict=True)])
    number = np.array([max(len(places[:TOLD]), 1) for places in told])
    some = true.any(axis=1)
    return {
        "precision": float((right / TOLD).mean()),
        "recall": float((right[some] / true[some].sum(axis=1)).mean()),
        "told right": float((right / number).mean()),
    }


def _truth(scene: Scene) -> list[bool]:
    there = {scene.truth.background}
    for thing in scene.truth.things:
        there |= {thing.shape, thing.colour, thing.fill}
    return [word in there for word in WORDS]


def _see(model: registry.Encoder, scenes: Sequence[Scene]) -> np.ndarray:
    return _embed(model, [Image.fromarray(scene.image) for scene in scenes])


def _embed(model: registry.Encoder, images: Sequence[Image.Image]) -> np.ndarray:
    parts = []
    for start in range(0, len(images), 64):
        pixels = [model.prepare(image) for image in images[start : start + 64]]
        parts.append(model.encode_images(torch.stack(pixels)).numpy())
    return np.concatenate(parts)


def _fit(backbone: np.ndarray, clip: np.ndarray, concepts: np.ndarray) -> Aligner:
    refs = [EncoderRef(name, rows.shape[1], Fingerprint(name, "")) for name, rows in (("from", backbone), ("to", clip))]
    ids = [f"{number:06d}" for number in range(len(clip))]
    pairs = [(ids, torch.from_numpy(backbone), torch.from_numpy(clip))]
    recipe = FitRecipe(concepts=torch.from_numpy(unit(concepts)))
    return fit_aligner(pairs, backbone=refs[0], clip=refs[1], recipe=recipe)[0]


def _photographs(folder: Path) -> dict[str, dict[str, object]]:
    """Whether names told of photographs stand in one of their captions, which leave most of what is there unsaid."""
    rows, names, concepts = _vit(folder)
    plain = [name.split(" (")[0].replace("_", " ").lower() for name in names]
    said = defaultdict(str)
    with (folder / "photos/captions.csv").open() as lines:
        for line in csv.DictReader(lines):
            said[line["image"]] += f" {' '.join(re.findall('[a-z]+', line['caption'].lower()))} "
    true = np.array([[f" {name} " in said[file.name] for name in plain] for file in _files(folder)])
    centred = rows - rows.mean(axis=0)
    common = np.argsort(-true.mean(axis=0), kind="stable")[:TOLD]
    by_cosine = np.argsort(-centred @ (concepts - concepts.mean(axis=0)).T, axis=1)
    found: dict[str, dict[str, object]] = {
        "best constant answer (control)": _score([common] * len(rows), true),
        "highest cosines (control)": _score(list(by_cosine), true),
    }
    rng = np.random.default_rng(0)
    for name, vocabulary in (
        ("sparse words", concepts),
        ("random directions (control)", unit(rng.normal(size=concepts.shape))),
    ):
        for words in (TOLD, 9, 20):
            told = SparseWords(vocabulary, words)(centred)
            scores = _score([row.places for row in told], true)
            found[f"{name}, {words}"] = {
                **scores,
                "words": words,
                "cosine": float(np.mean([row.cosine for row in told])),
            }
    found[f"(anchor: {SPLICE})"] = {"words": 9, "cosine": 0.54}
    return found


def _class_vectors(folder: Path) -> dict[str, dict[str, object]]:
    """Where the name of a class stands among all names, by ways of carrying the class vector into CLIP space."""
    import timm
    from timm.data import ImageNetInfo

    rows, names, concepts = _vit(folder)
    model = timm.create_model(f"local-dir:{folder}/timm/mobilenetv2_100", pretrained=True)
    backbone = registry.load(f"timm:local-dir:{folder}/timm/mobilenetv2_100", device="cpu")
    native = _embed(backbone, [Image.open(file).convert("RGB") for file in _files(folder)])
    aligner = _fit(native, rows.astype(np.float32), concepts)
    plain = [name.split(" (")[0].replace("_", " ").lower() for name in names]
    labels = [ImageNetInfo().index_to_description(number).lower().split(",")[0] for number in range(1000)]
    pairs = [(number, plain.index(label)) for number, label in enumerate(labels) if label in plain]
    classes, own = (np.array(each) for each in zip(*pairs, strict=True))
    heads = model.get_classifier().weight.detach().numpy()[classes]
    seen = aligner(torch.from_numpy(native)).numpy()
    ways = {
        "linear part (what describe does)": heads @ aligner.weight.numpy(),
        "as a point, through the whole aligner (the paper's)": aligner(torch.from_numpy(heads)).numpy()
        - seen.mean(axis=0),
        "covariance with the class's score": (heads @ (native - native.mean(axis=0)).T) @ (seen - seen.mean(axis=0)),
    }
    found: dict[str, dict[str, object]] = {}
    for name, carried in ways.items():
        cosines = unit(carried) @ unit(concepts - concepts.mean(axis=0)).T
        rank = (cosines > cosines[np.arange(len(own)), own][:, None]).sum(axis=1)
        found[name] = {
            "classes": len(own),
            "first": float((rank == 0).mean()),
            "in 5": float((rank < 5).mean()),
            "median rank": float(np.median(rank) + 1),
        }
    return found


def _files(folder: Path) -> list[Path]:
    """The photographs that there are ViT-B/32 vectors of, in their order."""
    names = (folder / "clip_vit_b32/image_names.txt").read_text().splitlines()
    return [folder / "photos/images" / name.rpartition("/")[2] for name in names]


def _vit(folder: Path) -> tuple[np.ndarray, list[str], np.ndarray]:
    vit = folder / "clip_vit_b32"
    images, concepts = (np.load(vit / f"{name}_embeddings.npy").astype(np.float64) for name in ("image", "concept"))
    return unit(images), (vit / "concept_names.txt").read_text().splitlines(), unit(concepts)


def _million(count: int) -> tuple[dict[str, dict[str, object]], list[Bar]]:
    """The rate and memory of words for many vectors, which come by batches, beside one product of the same in numpy."""
    rng = np.random.default_rng(0)
    dim, concepts, size = 256, 1000, min(count, 10_000)
    texts = unit(rng.normal(size=(concepts, dim)))
    batch = unit(rng.random((size, concepts)) ** 60 @ texts + 0.02 * rng.normal(size=(size, dim)))
    found: dict[str, dict[str, object]] = {}
    more = 0.0
    for name, run in (
        ("product with the vocabulary (control)", texts.T.__rmatmul__),
        ("sparse words", SparseWords(texts, 8)),
    ):
        tracemalloc.start()
        run(batch)
        first = tracemalloc.get_traced_memory()[1]
        started = time.perf_counter()
        for start in range(0, count, size):
            run(batch[: count - start])
        seconds = time.perf_counter() - started
        more = (tracemalloc.get_traced_memory()[1] - first) / 2**20
        tracemalloc.stop()
        found[name] = {
            "vectors": count,
            "words": concepts,
            "seconds": seconds,
            "per second": count / seconds,
            "MiB at most": first / 2**20 + more,
        }
    return found, [Bar("MiB that words of all vectors take beyond those of the first batch", more, 8, most=True)]
