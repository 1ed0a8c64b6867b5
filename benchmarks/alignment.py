"""How well, and how fast, a backbone is aligned to CLIP space: our default, plain ridge and the paper's recipe.

    python -m benchmarks.alignment [--quick] [--json]

1. Text -> image recall on the test split of the captions (742 photos, 5 captions each): the CLIP model itself, and each
   backbone aligned to it on the train split.
2. CLIP ViT-B/32 vectors of 684 photos from MobileNetV2, 5-fold: recall@k of aligned -> true within a fold, R2 (the affine
   part, per dimension), and mean average precision over concept texts. A photo is relevant to a concept when the
   concept's name (without what stands in parentheses), or it with an s, is a word of any of its five captions; concepts
   with at least 10 relevant photos count. Every photo is ranked by the map fitted without its fold.
3. Seconds to fit on the train split, features given, and the error on the test split: mean squared distance of the
   affine part's predictions from the unit CLIP rows. The paper's descent runs on until it is as good as our fit, or has
   taken 50 times as long.
"""

from __future__ import annotations

import csv
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks._captions import REAL, average_precision
from benchmarks._common import Bar, finish, options, table
from benchmarks._paper import PUBLISHED_EPOCHS, descend
from t2c_search.alignment.evaluation import centred, r2_per_dimension, recall
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.decoding.decode import decode_file
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import DualEncoder, ImageEncoder, model_input
from t2c_search.types import EncoderRef

BACKBONES = {"MobileNetV1": "mobilenetv1_100", "MobileNetV2": "mobilenetv2_100"}
BATCH = 64
FOLDS = 5
LEAST_RELEVANT = 10  # photos, for a concept to count
LEAST_FACTOR = 50
QUICK_TRAIN, QUICK_TEST, QUICK_PAIRS, QUICK_FACTOR = 500, 200, 250, 5
FIT_RUNS = 3  # whose median time counts


@dataclass(frozen=True)
class Map:
    """A fitted map: affine predictions (n, d_clip) and unit rows (n, d_clip) for features (n, d_backbone)."""

    affine: Callable[[Tensor], Tensor]
    rows: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pairing:
    """Which models a fit is between, and the unit text vectors (v, d_clip) that its criterion may ask."""

    backbone: EncoderRef
    clip: EncoderRef
    concepts: Tensor

    def closed_form(self, ids: Sequence[str], x: Tensor, y: Tensor, **choice: str) -> tuple[Map, float]:
        """Fit on the rows of some photos; returns the map and the seconds it took."""
        aligner, report = fit_aligner(
            [(ids, x, y)], backbone=self.backbone, clip=self.clip, recipe=FitRecipe(concepts=self.concepts, **choice)
        )
        return Map(aligner.affine, aligner), report.seconds

    def published(self, x: Tensor, y: Tensor) -> Map:
        """Fit by the paper's recipe, at its number of epochs."""
        last = next(islice(descend(x, y), PUBLISHED_EPOCHS - 1, None))
        return affine_map(last.weight, last.bias)

    def methods(self, ids: Sequence[str], x: Tensor, y: Tensor) -> dict[str, Map]:
        """Fit by every method on the same rows. Plain ridge is given the criterion that serves it best."""
        return {
            "the paper's recipe": self.published(x, y),
            "ridge": self.closed_form(ids, x, y, method="ridge", criterion="r2")[0],
            "ours": self.closed_form(ids, x, y)[0],
        }


def affine_map(weight: Tensor, bias: Tensor) -> Map:
    return Map(lambda x: x @ weight + bias, lambda x: normalize(x @ weight + bias))


def embed(encoders: Sequence[ImageEncoder], names: Sequence[str]) -> list[Tensor]:
    """Embed photos, each decoded once: (n, d) float32 on the CPU by each encoder."""
    folder = REAL / "photos" / "images"
    parts: list[list[Tensor]] = [[] for _ in encoders]
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        pictures = [(decode_file(path), str(path)) for path in (folder / name for name in batch)]
        for part, encoder in zip(parts, encoders, strict=True):
            prepared = [model_input(encoder, picture, path) for picture, path in pictures]
            part.append(encoder.encode_images(torch.stack(prepared)).cpu())
    return [torch.cat(part) for part in parts]


class Photos:
    """The captioned photos: which split each is in, its captions, and its features by backbone."""

    def __init__(self, train: int | None = None, test: int | None = None, pairs: int | None = None) -> None:
        """Embed so many photos of each kind, all of them if not told."""
        self.captions: dict[str, list[str]] = defaultdict(list)
        splits: dict[str, str] = {}
        with (REAL / "photos" / "captions.csv").open(encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                self.captions[row["image"]].append(row["caption"])
                splits[row["image"]] = row["split"]
        self.train, self.test = (
            [name for name in sorted(splits) if splits[name] == split][:most]
            for split, most in (("train", train), ("test", test))
        )
        vit_names = (REAL / "clip_vit_b32" / "image_names.txt").read_text(encoding="utf-8").split()
        self.vit = vit_names[:pairs]
        mini = registry.load(f"open_clip:local-dir:{REAL}/open_clip/flickr-mini")
        vit = registry.load(f"precomputed:{REAL}/clip_vit_b32")
        assert isinstance(mini, DualEncoder)
        assert isinstance(vit, DualEncoder)
        assert vit.vocabulary is not None
        backbones = [registry.load_image_encoder(f"timm:local-dir:{REAL}/timm/{name}") for name in BACKBONES.values()]
        names = sorted({*self.train, *self.test, *self.vit})
        self.place = {name: row for row, name in enumerate(names)}
        clip_rows, *features = embed([mini, *backbones], names)
        self.mini = normalize(clip_rows)
        self.features = dict(zip(BACKBONES, features, strict=True))
        self.vit_rows = normalize(embed([vit], self.vit)[0])
        self.vit_concepts = dict(zip(vit.vocabulary, vit.encode_texts(vit.vocabulary), strict=True))
        self.test_captions = mini.encode_texts([text for name in self.test for text in self.captions[name]]).cpu()
        vocabulary = mini.encode_texts(concept_vocabulary(mini.id))
        self.mini_pairing = {
            name: Pairing(encoder_ref(backbone), encoder_ref(mini), vocabulary)
            for name, backbone in zip(BACKBONES, backbones, strict=True)
        }
        texts = torch.stack(list(self.vit_concepts.values()))
        self.vit_pairing = Pairing(encoder_ref(backbones[-1]), encoder_ref(vit), texts)

    def of(self, rows: Tensor, names: Sequence[str]) -> Tensor:
        """Pick some photos' rows."""
        return rows[[self.place[name] for name in names]]


def by_text(photos: Photos) -> dict[str, dict[str, float]]:
    """Table 1: text -> image on the test split."""
    true = photos.of(photos.mini, photos.test)
    outcome = {"flickr-mini itself": _text_recall(photos, true)}
    own = outcome["flickr-mini itself"]["recall@10"]
    for name, features in photos.features.items():
        x, y = photos.of(features, photos.train), photos.of(photos.mini, photos.train)
        test = photos.of(features, photos.test)
        for method, fitted in photos.mini_pairing[name].methods(photos.train, x, y).items():
            figures = _text_recall(photos, fitted.rows(test))
            outcome[f"{name}, {method}"] = {
                **figures,
                "of the CLIP model's @10": figures["recall@10"] / own,
                "R2": r2_per_dimension(fitted.affine(test), true),
            }
    return outcome


def _text_recall(photos: Photos, rows: Tensor) -> dict[str, float]:
    owner = torch.tensor([at for at, name in enumerate(photos.test) for _ in photos.captions[name]])
    cosines = photos.test_captions @ rows.T
    above = (cosines > cosines.gather(1, owner[:, None])).sum(1)
    return {f"recall@{k}": float((above < k).float().mean()) for k in (1, 5, 10)}


def by_fold(photos: Photos) -> dict[str, dict[str, float]]:
    """Table 2: aligned -> true on the ViT-B/32 pairs, and average precision of concept texts."""
    names, x, y = photos.vit, photos.of(photos.features["MobileNetV2"], photos.vit), photos.vit_rows
    order = np.random.default_rng(0).permutation(len(names))
    folds: dict[str, list[dict[str, float]]] = defaultdict(list)
    aligned: dict[str, Tensor] = defaultdict(lambda: torch.zeros_like(y))
    for fold in range(FOLDS):
        held, rest = order[fold::FOLDS], np.sort(np.concatenate([order[k::FOLDS] for k in range(FOLDS) if k != fold]))
        for method, fitted in photos.vit_pairing.methods([names[i] for i in rest], x[rest], y[rest]).items():
            rows = aligned[method][held] = fitted.rows(x[held])
            folds[method].append(
                {f"recall@{k}": recall(rows, y[held], k) for k in (1, 10)}
                | {f"centred @{k}": recall(centred(rows), centred(y[held]), k) for k in (1, 10)}
                | {"R2": r2_per_dimension(fitted.affine(x[held]), y[held])}
            )
    relevant = shown_concepts(photos)
    own = mean_average_precision(photos, y, relevant)
    outcome: dict[str, dict[str, float]] = {"true vectors": {"concepts": len(relevant), "mAP": own}}
    for method, figures in folds.items():
        precision = mean_average_precision(photos, aligned[method], relevant)
        means = {column: statistics.fmean(fold[column] for fold in figures) for column in figures[0]}
        outcome[method] = means | {"mAP": precision, "of the true": precision / own}
    return outcome


def shown_concepts(photos: Photos) -> dict[str, np.ndarray]:
    """Which photos each concept is relevant to, for the concepts that enough photos show."""
    words = [set(re.findall("[a-z]+", " ".join(photos.captions[name]).lower())) for name in photos.vit]
    shown = {}
    for concept in photos.vit_concepts:
        name = re.sub(r"\s*\(.*?\)", "", concept).lower()
        shown[concept] = np.array([name in each or f"{name}s" in each for each in words])
    return {concept: relevant for concept, relevant in shown.items() if relevant.sum() >= LEAST_RELEVANT}


def mean_average_precision(photos: Photos, rows: Tensor, relevant: dict[str, np.ndarray]) -> float:
    def precision(concept: str) -> float:
        cosines = (rows @ photos.vit_concepts[concept]).numpy()
        return average_precision(np.argsort(-cosines, kind="stable"), relevant[concept])

    return statistics.fmean(precision(concept) for concept in relevant)


def race(photos: Photos, factor: float) -> dict[str, dict[str, Any]]:
    """Table 3: our fit, then the paper's descent until it is as good or has taken ``factor`` times as long."""
    name = "MobileNetV1"
    x, y = photos.of(photos.features[name], photos.train), photos.of(photos.mini, photos.train)
    test, true = photos.of(photos.features[name], photos.test), photos.of(photos.mini, photos.test)

    def error(fitted: Map) -> float:
        return float((fitted.affine(test) - true).square().sum(1).mean())

    pairing = photos.mini_pairing[name]
    runs = [pairing.closed_form(photos.train, x, y) for _ in range(FIT_RUNS)]
    ours, seconds = error(runs[0][0]), statistics.median(taken for _, taken in runs)
    outcome: dict[str, dict[str, Any]] = {"ours": {"seconds": seconds, "error": ours}}
    best: dict[str, Any] = {"error": float("inf")}
    for epoch in descend(x, y):
        now = {
            "seconds": epoch.seconds,
            "error": error(affine_map(epoch.weight, epoch.bias)),
            "epochs": epoch.count,
            "times ours": epoch.seconds / seconds,
        }
        best = min(best, now, key=lambda each: float(each["error"]))
        if epoch.count == PUBLISHED_EPOCHS:
            outcome["the paper's recipe, as published"] = now
        if now["error"] <= ours or epoch.seconds >= factor * seconds:
            break
    outcome["the same, at its best epoch"] = best
    outcome["the same, when it was as good" if now["error"] <= ours else "the same, given up, never as good"] = now
    return outcome


def main() -> int:
    chosen = options("alignment", __doc__)
    photos = Photos(QUICK_TRAIN, QUICK_TEST, QUICK_PAIRS) if chosen.quick else Photos()
    texts, folds = by_text(photos), by_fold(photos)
    factor = QUICK_FACTOR if chosen.quick else LEAST_FACTOR
    speed = race(photos, factor)
    bars = [
        Bar(
            "MobileNetV1's recall@10 over the CLIP model's", texts["MobileNetV1, ours"]["of the CLIP model's @10"], 1.0
        ),
        Bar("mean-centred recall@1 on ViT-B/32 pairs", folds["ours"]["centred @1"], 0.60),
        Bar("mAP over the true vectors' on ViT-B/32 pairs", folds["ours"]["of the true"], 0.65),
        Bar(
            "the descent's seconds over ours, until as good or given up", list(speed.values())[-1]["times ours"], factor
        ),
    ]
    tables = [
        table(
            f"text -> image, {len(photos.test)} test photos, fitted on {len(photos.train)}",
            texts,
            ("recall@1", "recall@5", "recall@10", "of the CLIP model's @10", "R2"),
        ),
        table(
            f"MobileNetV2 -> CLIP ViT-B/32, {len(photos.vit)} photos, {FOLDS}-fold",
            folds,
            ("recall@1", "recall@10", "centred @1", "centred @10", "R2", "concepts", "mAP", "of the true"),
        ),
        table("MobileNetV1 -> flickr-mini: seconds of the fit", speed, ("seconds", "error", "epochs", "times ours")),
    ]
    figures = {"text_to_image": texts, "vit_b32_folds": folds, "speed": speed}
    return finish("alignment", chosen, figures, tables, bars)


if __name__ == "__main__":
    sys.exit(main())
