"""Zero-shot classes: CIFAR-10 through real models, drawn scenes, shares that are skewed, and a million vectors.

Accuracy is measured on CIFAR-10's ``test`` images and on scenes that no fit has seen. Every classification goes through the
code of ``t2c classify``. The centred scores are its default; plain cosines stand beside them.
"""

from __future__ import annotations

import csv
import time
import tracemalloc
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.world import rows_of
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.concepts.zero_shot.classes import NamedClass, class_rows, read_classes, read_prompts
from t2c_search.concepts.zero_shot.classify import Choices, Directions, classify
from t2c_search.concepts.zero_shot.judged import Judged
from t2c_search.concepts.zero_shot.likelihood import fit_rule
from t2c_search.concepts.zero_shot.rule import Rule
from t2c_search.concepts.zero_shot.shares import estimate_shares
from t2c_search.decoding.decode import decode_file
from t2c_search.demo import words
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder, ImageEncoder
from t2c_search.query.planning.texts import Texts
from t2c_search.transport import clearing_prices, even
from t2c_search.types import CLIP, EncoderRef, Fingerprint, Points

LVIS = {
    "airplane": "airplane", "automobile": "car (automobile)", "bird": "bird", "cat": "cat", "deer": "deer", "dog": "dog",
    "frog": "frog", "horse": "horse", "ship": ("cargo ship", "cruise ship", "passenger ship"), "truck": "truck",
}  # fmt: skip
"""CIFAR-10's classes in the words of the precomputed vocabulary."""
KINDS = read_classes({name: name for name in LVIS})
"""And in words for a text tower."""
PAPER = 0.6818  # Text-to-Concept: ResNet-50, a linear map fitted on 256,233 pairs of ImageNet, CLIP ViT-B/16
BACKBONES = {"MobileNetV1": ("mobilenetv1_100", 1024), "MobileNetV2": ("mobilenetv2_100", 1280)}
"""Folders, and how many numbers the embedding has."""
BATCH, PROBED, DRAWS = 64, 100, 20
SCENES, FITTED, POOL_SEED, FIT_SEED = 6000, 4000, 301, 302  # no recipe's seeds
SKEW, TRIALS = 10.0, 20
VECTORS, DIM = 1_000_000, 512
COVERAGES = (1.0, 0.9, 0.75, 0.5)
SHARE_COLUMNS = (
    "plain cosine", "zero-shot", "calibrated", "priors", "true shares", "balanced", "off: even", "off: estimated"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rows:
    """Unit rows (n, d) with a label each, which are read as a collection's are."""

    vectors: np.ndarray
    labels: Sequence[str]

    def read(self, *, payload: bool | tuple[str, ...] = False) -> Iterator[Points]:
        for start in range(0, len(self.vectors), 1000):
            part = slice(start, start + 1000)
            ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(start + at))) for at in range(len(self.labels[part]))]
            yield Points(ids, [{"kind": label} for label in self.labels[part]], {CLIP: self.vectors[part]})

    def judged(self, classes: Sequence[NamedClass], directions: np.ndarray, **choices: Any) -> Judged:
        """Classify them and compare with their labels."""
        known = Directions(tuple(classes), directions, self.vectors.astype(np.float64).mean(0))
        judged = classify(self.read, known, Choices(against="kind", **choices)).judged
        assert judged is not None
        return judged


def measure(quick: bool) -> Measured:
    real = real_data()
    parts = [drawn(quick), million(quick), *([] if quick or real is None else [cifar(real)])]
    figures = {name: value for part in parts for name, value in part.figures.items()}
    if not quick and real is None:
        figures["cifar10"] = "the folder of real photographs was not found"
    return Measured(
        figures, [each for part in parts for each in part.tables], [each for part in parts for each in part.bars]
    )


# CIFAR-10


def cifar(real: Path) -> Measured:
    """Ten classes in words, through backbones that are aligned to two CLIP models, on real pairs."""
    train, test = (_of_classes(real / "cifar10" / split, most) for split, most in (("train", PROBED), ("test", None)))
    with (real / "photos" / "captions.csv").open(encoding="utf-8") as lines:
        names = sorted({row["image"] for row in csv.DictReader(lines) if row["split"] == "train"})
    pictures = [real / "photos" / "images" / name for name in names]
    pairs = [
        real / "photos" / "images" / name for name in (real / "clip_vit_b32" / "image_names.txt").read_text().split()
    ]
    vit = registry.load(f"precomputed:{real}/clip_vit_b32")
    mini = registry.load(f"open_clip:local-dir:{real}/open_clip/flickr-mini")
    assert isinstance(vit, DualEncoder) and isinstance(mini, DualEncoder) and vit.vocabulary is not None
    labels = [file.parent.name for file in test]
    own = _embed(mini, [*test, *pictures])
    vit_rows = torch.stack([vit.look_up(str(file)) for file in pairs])  # type: ignore[attr-defined]
    directions = class_rows(_texts(vit, free=False), read_classes(LVIS), None)
    rows: dict[str, dict[str, Any]] = {
        "chance": {"zero-shot": 0.1},
        f"ten other names, mean of {DRAWS} draws": {},
        "the paper's ResNet-50, 256,233 pairs, ViT-B/16": {"zero-shot": PAPER},
        "flickr-mini itself": _by_tower(normalize(own[: len(test)]), mini, labels),
    }
    for name, (folder, dim) in BACKBONES.items():
        encoder = registry.load_image_encoder(f"timm:local-dir:{real}/timm/{folder}?layers=3")
        found = dict(
            zip(("train", "test", "pairs", "pictures"), _embed_all(encoder, train, test, pairs, pictures), strict=True)
        )
        for stages, width in (("one stage", dim), ("three stages", None)):
            x = {part: each[:, :width] for part, each in found.items()}  # the embedding stands first
            texts = vit.encode_texts(vit.vocabulary)
            aligned = _align(x["pairs"], vit_rows, x["test"], texts)
            rows[f"{name}, {stages}, to ViT-B/32 ({len(pairs)} pairs)"] = {
                **_figures(Rows(aligned, labels), directions),
                "probe": _probe(x["train"], [file.parent.name for file in train], x["test"], labels),
            }
            if (name, stages) == ("MobileNetV2", "one stage"):
                rows[f"ten other names, mean of {DRAWS} draws"] = {
                    "zero-shot": _by_others(aligned, texts.numpy(), labels)
                }
            aligned = _align(x["pictures"], own[len(test) :], x["test"], mini.encode_texts(concept_vocabulary(mini.id)))
            rows[f"{name}, {stages}, to flickr-mini ({len(pictures)} pairs)"] = _by_tower(
                torch.tensor(aligned), mini, labels
            )
    columns = ["zero-shot", "plain cosine", "calibrated", "balanced", "photo prompts", "probe"]
    title = f"CIFAR-10, accuracy on {len(test)} test images; probe: logistic regression on {len(train)} images' own features"
    return Measured({"cifar10": rows}, [table(title, rows, columns)], [])


def _of_classes(folder: Path, most: int | None) -> list[Path]:
    return [file for name in LVIS for file in sorted((folder / name).iterdir())[:most]]


def _embed(encoder: ImageEncoder, files: Sequence[Path]) -> Tensor:
    parts = []
    for start in range(0, len(files), BATCH):
        prepared = [encoder.prepare(decode_file(file)) for file in files[start : start + BATCH]]  # type: ignore[attr-defined]
        parts.append(encoder.encode_images(torch.stack(prepared)).cpu())
    return torch.cat(parts)


def _embed_all(encoder: ImageEncoder, *groups: Sequence[Path]) -> list[Tensor]:
    """Embed several groups of files, those in two of them once."""
    every = list(dict.fromkeys(file for group in groups for file in group))
    rows, place = _embed(encoder, every), {file: at for at, file in enumerate(every)}
    return [rows[[place[file] for file in group]] for group in groups]


def _texts(encoder: DualEncoder, free: bool = True) -> Texts:
    return Texts(lambda texts: encoder.encode_texts(texts).cpu().numpy(), free)


def _align(x: Tensor, y: Tensor, images: Tensor, concepts: Tensor) -> np.ndarray:
    """Fit by the default recipe on pairs, and carry images across."""
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"pair {at}")) for at in range(len(x))]
    refs = [EncoderRef("benchmark", rows.shape[1], Fingerprint("", "")) for rows in (x, y)]
    aligner, _ = fit_aligner([(ids, x, y)], backbone=refs[0], clip=refs[1], recipe=FitRecipe(concepts=concepts))
    return aligner(images).numpy()


def _figures(test: Rows, directions: np.ndarray, classes: Sequence[NamedClass] = KINDS) -> dict[str, float]:
    return {
        "zero-shot": test.judged(classes, directions).accuracy,
        "plain cosine": test.judged(classes, directions, centre=False).accuracy,
        "calibrated": test.judged(classes, directions, calibrate="kind").accuracy,
        "balanced": test.judged(classes, directions, balance=True).accuracy,
    }


def _by_tower(rows: Tensor, mini: DualEncoder, labels: Sequence[str]) -> dict[str, float]:
    """Classify by a text tower, in both prompt ensembles."""
    test, texts = Rows(rows.numpy(), labels), _texts(mini)
    photo = test.judged(KINDS, class_rows(texts, KINDS, read_prompts("photo"))).accuracy
    return {**_figures(test, class_rows(texts, KINDS, None)), "photo prompts": photo}


def _by_others(rows: np.ndarray, texts: np.ndarray, labels: Sequence[str]) -> float:
    """Mean accuracy where the ten classes are called by ten names of the vocabulary that are drawn at random."""
    rng = np.random.default_rng(0)
    test = Rows(rows, labels)
    return float(np.mean([test.judged(KINDS, texts[rng.choice(len(texts), 10, False)]).accuracy for _ in range(DRAWS)]))


def _probe(x: Tensor, labels: Sequence[str], images: Tensor, truth: Sequence[str]) -> float:
    scaler = StandardScaler().fit(x.numpy())
    model = LogisticRegression(C=0.01, max_iter=300).fit(scaler.transform(x.numpy()), labels)
    return float(np.mean(model.predict(scaler.transform(images.numpy())) == np.array(truth)))


# drawn scenes


def drawn(quick: bool) -> Measured:
    """Shape and background of drawn scenes through aligned backbones, beside the mini CLIP itself."""
    scenes, fitting = list(draw(POOL_SEED, 200 if quick else SCENES)), list(draw(FIT_SEED, 250 if quick else FITTED))
    names = ("mini", "mini:cnn") if quick else ("mini", "mini:cnn", "mini:vit")
    encoders = [registry.load_image_encoder(name) for name in names]
    mini = encoders[0]
    assert isinstance(mini, DualEncoder)
    pool, pairs = (dict(zip(names, rows_of(encoders, each), strict=True)) for each in (scenes, fitting))
    concepts = mini.encode_texts(concept_vocabulary("mini"))
    rows = {"mini": normalize(pool["mini"]).numpy()}
    rows |= {name: _align(pairs[name], pairs["mini"], pool[name], concepts) for name in names[1:]}
    single = [at for at, scene in enumerate(scenes) if len(scene.truth.things) == 1]
    asked = {
        "shape": (words.SHAPES, single, [scenes[at].truth.things[0].shape for at in single]),
        "background": (words.BACKGROUNDS, list(range(len(scenes))), [scene.truth.background for scene in scenes]),
    }
    trials = 1 if quick else TRIALS
    right: dict[str, dict[str, Any]] = {}
    skewed: dict[str, dict[str, Any]] = {}
    for what, (vocabulary, places, labels) in asked.items():
        classes = read_classes(vocabulary)
        directions = class_rows(_texts(mini), classes, None)
        for name in names:
            test = Rows(rows[name][places], labels)
            judged = test.judged(classes, directions, calibrate="kind")
            assert judged.reliability is not None
            right[f"{what}, {'mini CLIP itself' if name == 'mini' else f'{name} aligned'}"] = {
                **_figures(test, directions, classes),
                "calibration error": judged.reliability.error,
                **{f"right at {coverage:.0%}": judged.risk.at(coverage)[1] for coverage in COVERAGES[1:]},
            }
            if name != "mini":
                skewed |= _skewed(f"{what}, {name}", test, (classes, directions), trials)
    at = [f"right at {coverage:.0%}" for coverage in COVERAGES[1:]]
    title = f"drawn scenes: {len(scenes)}, of one object {len(single)}; right at: among those that lead by most"
    shown = [
        table(title, right, ["zero-shot", "plain cosine", "calibrated", "balanced", "calibration error", *at]),
        table(
            f"accuracy at other shares, mean of {trials} draws; off: total variation",
            skewed,
            SHARE_COLUMNS,
        ),
    ]
    bars = []
    for what in asked:
        cnn, own = (right[f"{what}, {name}"] for name in ("mini:cnn aligned", "mini CLIP itself"))
        ratio, error = cnn["zero-shot"] / own["zero-shot"], cnn["calibration error"]
        bars.append(Bar(f"{what} through mini:cnn over the mini CLIP's own", ratio, 0.9))
        bars.append(Bar(f"{what} through mini:cnn, calibration error held out", error, 0.05, most=True))
    return Measured({"drawn": right, "shares": skewed}, shown, bars)


def _skewed(
    name: str, test: Rows, known: tuple[Sequence[NamedClass], np.ndarray], trials: int
) -> dict[str, dict[str, float]]:
    """Fit on half of the images, evenly drawn, and classify sets of the other half: an even one, and skewed ones."""
    (classes, directions), rng = known, np.random.default_rng(1)
    k = len(classes)
    truth = np.array([[each.name for each in classes].index(label) for label in test.labels], np.int32)
    cosines = (test.vectors @ directions.T).astype(np.float32)
    half = np.arange(len(truth)) % 2 == 0
    rule = fit_rule(cosines[half], truth[half])
    trained = np.bincount(truth[half], minlength=k) / half.sum()
    least = int(np.bincount(truth[~half], minlength=k).min())
    found: dict[str, list[list[float]]] = {"even": [], "10 to 1": []}
    for kind, weights in (("even", np.ones(k)), ("10 to 1", np.geomspace(1, 1 / SKEW, k))):
        for _ in range(trials):
            sizes = np.maximum((weights * least).astype(int), 1)[rng.permutation(k)]
            members = [np.flatnonzero(~half & (truth == at)) for at in range(k)]
            chosen = np.concatenate(
                [rng.choice(each, min(size, len(each)), False) for each, size in zip(members, sizes, strict=True)]
            )
            found[kind].append(_by_shares(cosines[chosen], truth[chosen], rule, trained))
    return {
        f"{name}, {kind}": dict(zip(SHARE_COLUMNS, np.mean(each, axis=0).tolist(), strict=True))
        for kind, each in found.items()
    }


def _by_shares(cosines: np.ndarray, truth: np.ndarray, rule: Rule, trained: np.ndarray) -> list[float]:
    assert rule.slope is not None
    k = len(trained)
    true = np.bincount(truth, minlength=k) / len(truth)
    shares = estimate_shares(rule.log_posteriors(cosines), trained)
    rules = [
        Rule(np.zeros(k)),
        Rule(-cosines.mean(0).astype(float)),
        rule,
        *(rule.shifted(np.log(each / trained) / rule.slope) for each in (shares, true)),
        Rule(clearing_prices(cosines.astype(np.float64), even(k))[0]),
    ]
    off = [float(np.abs(each - true).sum() / 2) for each in (np.full(k, 1 / k), shares)]
    return [float((each.assign(cosines).classes == truth).mean()) for each in rules] + off


# a million vectors


def million(quick: bool) -> Measured:
    """Time and memory by the number of vectors, beside a plain numpy pass over the same batches."""
    most = VECTORS // 200 if quick else VECTORS
    rng = np.random.default_rng(2)
    block = normalize(torch.tensor(rng.normal(size=(1000, DIM)), dtype=torch.float32)).numpy()
    directions = normalize(torch.tensor(rng.normal(size=(10, DIM)), dtype=torch.float32)).numpy()
    known = Directions(KINDS, directions, block.astype(np.float64).mean(0))
    ways = {"one pass": Choices(), "balanced": Choices(balance=True)}
    rows: dict[str, dict[str, Any]] = {}
    for count in (most // 10, most):
        started = time.perf_counter()
        kept = [(points.vectors[CLIP] @ directions.T).argmax(1) for points in _stream(block, count)]
        np.concatenate(kept)
        row: dict[str, Any] = {"numpy, vectors/s": int(count / (time.perf_counter() - started))}
        for way, choices in ways.items():
            started = time.perf_counter()
            classify(lambda *, payload: _stream(block, count), known, choices)  # noqa: B023 - called at once
            row[f"{way}, vectors/s"] = int(count / (time.perf_counter() - started))
            row[f"{way}, peak MB"] = round(_peak(block, count, known, choices) / 1e6, 1)
        rows[f"{count:,} vectors"] = row
    less, more = rows.values()
    each = (more["one pass, peak MB"] - less["one pass, peak MB"]) * 1e6 / (most - most // 10)
    columns = list(less)
    title = f"{DIM} dimensions, 10 classes, vectors streamed in batches of 1000"
    bar = Bar("bytes that an image takes while it is classified, beyond what is constant", each, 64, most=True)
    return Measured({"million": rows}, [table(title, rows, columns)], [bar])


def _stream(block: np.ndarray, count: int) -> Iterator[Points]:
    for start in range(0, count, len(block)):
        numbers = range(start, start + len(block))
        ids = [f"{at:08x}-0000-5000-8000-{at * 0x9E3779B97F4A7C15 % 2**48:012x}" for at in numbers]
        yield Points(ids, [], {CLIP: block})


def _peak(block: np.ndarray, count: int, known: Directions, choices: Choices) -> int:
    tracemalloc.start()
    classify(lambda *, payload: _stream(block, count), known, choices)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
