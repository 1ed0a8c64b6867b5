"""Concept bottlenecks beside their controls: in the drawn world, whose truth is known, and on CIFAR-10.

1. Drawn world: scenes seen by ``mini:cnn``, aligned to the mini CLIP model, labelled by a stated rule of two attributes. The
   anchor is a linear probe on the native vectors, the control as many random directions at the same NCC. Interventions: an
   attribute is turned to what it is not, by giving all concepts that name it the mean score of the images that have it, or
   have it not; the prediction must be what the rule then says.
2. CIFAR-10: 300 images a class, cross-validated, and 200 more for the head at NCC 15, seen by MobileNetV1 and V2, aligned to CLIP
   ViT-B/32 on 684 photographs; concepts are LVIS's names less the classes and their near-synonyms. No bar. Label-free CBM's
   published 86.37 is of CLIP ResNet-50 on all 50,000 images, full size: another model and data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch.nn.functional import normalize

from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.world import rows_of
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.concepts.bottleneck.concepts import Scale
from t2c_search.concepts.bottleneck.curve import DIRECTIONS, NAMES, NCCS, PROBE
from t2c_search.concepts.bottleneck.fit import Asked, fit_bottleneck
from t2c_search.concepts.bottleneck.head import Head
from t2c_search.concepts.bottleneck.sample import Labelled
from t2c_search.concepts.vocabulary import vocabulary_of
from t2c_search.decoding.decode import decode_file
from t2c_search.demo.truth import Truth
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import DualEncoder, ImageEncoder
from t2c_search.query.language.syntax import parse
from t2c_search.query.planning.texts import Texts
from t2c_search.state.bottlenecks import Bottleneck

PAIR_SEED, LABEL_SEED, OTHER_SEED = 211, 212, 213
PAIRS, LABELLED, OTHERS = 2000, 2000, 500
BATCH = 64
WORDINGS = {"automobile": "car (automobile)", "ship": ["cargo ship", "cruise ship", "passenger ship"]}
BACKBONES = {"MobileNetV1": "mobilenetv1_100", "MobileNetV2": "mobilenetv2_100"}
WITHIN, AHEAD, FLIPPED = 0.03, 0.10, 0.90


@dataclass(frozen=True)
class Rule:
    """A Boolean rule of two attributes; ``words`` are what concepts call each by."""

    text: str
    attributes: tuple[str, str]
    words: tuple[str, str]
    either: bool

    def says(self, holds: np.ndarray) -> np.ndarray:
        """Judge images by which attributes (n, 2) hold of them."""
        return holds.any(1) if self.either else holds[:, 0] & ~holds[:, 1]

    def holds(self, truths: Sequence[Truth]) -> np.ndarray:
        """Which attributes hold of images, (n, 2)."""
        return np.array([[truth.matches_text(each) for each in self.attributes] for truth in truths])


RULES = (
    Rule('"a star" OR "on brick"', ("a star", "on brick"), ("star", "brick"), True),
    Rule('"a heart" AND NOT "on grass"', ("a heart", "on grass"), ("heart", "grass"), False),
)
"""Bars are for the first; the second is reported."""


def drawn(quick: bool) -> tuple[dict[str, Any], list[Table], list[Bar]]:
    """Fit and intervene in the drawn world."""
    clip, cnn = registry.load("mini"), registry.load_image_encoder("mini:cnn")
    assert isinstance(clip, DualEncoder)
    shrink = 5 if quick else 1
    fitting, scenes, others = (
        list(draw(seed, count // shrink))
        for seed, count in ((PAIR_SEED, PAIRS), (LABEL_SEED, LABELLED), (OTHER_SEED, OTHERS))
    )
    words = concept_vocabulary(clip.id)
    known, features = rows_of([clip, cnn], fitting)
    aligner, _ = fit_aligner(
        [(list(map(_id, fitting)), features, known)],
        backbone=encoder_ref(cnn),
        clip=encoder_ref(clip),
        recipe=FitRecipe(concepts=clip.encode_texts(words)),
    )
    texts = Texts(lambda given: clip.encode_texts(given).cpu().numpy())
    native, later = rows_of([cnn], scenes)[0], rows_of([cnn], others)[0]
    vectors, unseen = aligner(native).cpu().numpy(), aligner(later).cpu().numpy()
    figures: dict[str, Any] = {}
    tables: list[Table] = []
    for rule in RULES[: 1 if quick else None]:
        holds = rule.holds([scene.truth for scene in scenes])
        labels = rule.says(holds).astype(np.int64)
        for scene, label in zip(scenes[:20], labels[:20], strict=True):  # the rule is what the expression says
            assert scene.truth.matches(parse(rule.text)) == bool(label)
        labelled = Labelled(vectors, labels, (False, True), len(labels), native.cpu().numpy())
        vocabulary = vocabulary_of(((word, "") for word in words), "the drawn world")
        asked = [Asked("rule", "rule", {}, ncc) for ncc in ((5,) if quick else (5, 15))]
        fitted = {each.ncc: fit_bottleneck(labelled, vocabulary, texts, each) for each in asked}
        turned = {
            f"NCC {ncc}": intervene(each, rule, (vectors, holds), (unseen, rule.holds([s.truth for s in others])))
            for ncc, each in fitted.items()
        }
        figures[rule.text] = {
            **curve_figures(fitted[5]),
            "interventions": turned,
            "weights": fitted[5].to_json()["weights"],
        }
        title = f"drawn world, {rule.text}: right on held-out images, {len(labels)} labelled"
        tables.append(curve_table(title, fitted[5]))
        columns = ["all", "label turns", "label stays"]
        tables.append(
            table(f"{rule.text}: predictions as the rule says after an attribute was turned", turned, columns)
        )
    first = figures[RULES[0].text]
    right = first["accuracy"]
    gap = right[PROBE]["no limit"] - max(right[NAMES][f"NCC {ncc}"] for ncc in NCCS if ncc <= 15)
    ahead = right[NAMES]["NCC 5"] - right[DIRECTIONS]["NCC 5"]
    turned = first["interventions"]["NCC 5"]["label turns"]
    bars = [
        Bar("drawn world: the probe's accuracy less the names' at NCC 15 or less", gap, WITHIN, most=True),
        Bar("drawn world: names over random directions at NCC 5", ahead, AHEAD),
        Bar("drawn world: interventions that turn the label as truth says, NCC 5", turned, FLIPPED),
    ]
    return figures, tables, bars


def intervene(
    fitted: Bottleneck, rule: Rule, known: tuple[np.ndarray, np.ndarray], unseen: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Turn each attribute of each unseen image, and judge the predictions by what the rule then says.

    ``known`` and ``unseen`` are vectors (n, d) and which attributes hold (n, 2).
    """
    scale, head = Scale(fitted.directions, fitted.mean, fitted.sd), Head(fitted.weights, fitted.bias)
    levels, (vectors, holds) = scale.scores(known[0]), unseen
    right: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    for at, word in enumerate(rule.words):
        scores, after = scale.scores(vectors), holds.copy()
        after[:, at] = ~after[:, at]
        for place in [place for place, concept in enumerate(fitted.concepts) if word in concept]:
            with_it, without = (levels[known[1][:, at] == there, place].mean() for there in (True, False))
            scores[:, place] = np.where(after[:, at], with_it, without)
        right.append(head.logits(scores).argmax(1) == rule.says(after))
        turns.append(rule.says(after) != rule.says(holds))
    found, turned = np.concatenate(right), np.concatenate(turns)
    return {
        "all": float(found.mean()),
        "label turns": float(found[turned].mean()),
        "label stays": float(found[~turned].mean()),
    }


def cifar() -> tuple[dict[str, Any], list[Table]]:
    """Fit on CIFAR-10 through backbones aligned to CLIP ViT-B/32."""
    real = real_data()
    if real is None:
        return {"cifar10": "T2C_REAL_DATA is absent"}, []
    vit = registry.load(f"precomputed:{real}/clip_vit_b32")
    assert isinstance(vit, DualEncoder)
    assert vit.vocabulary is not None
    names = (real / "clip_vit_b32" / "image_names.txt").read_text(encoding="utf-8").split()
    pictures = {
        split: [
            (path, folder.name)
            for folder in sorted((real / "cifar10" / split).iterdir())
            for path in sorted(folder.glob("*.jpg"))
        ]
        for split in ("train", "test")
    }
    classes = sorted({label for _, label in pictures["train"]})
    true = normalize(torch.stack([vit.look_up(name) for name in names]))
    texts = Texts(lambda given: vit.encode_texts(given).cpu().numpy(), free_text=False)
    vocabulary = vocabulary_of(((name, "") for name in vit.vocabulary), "LVIS's names")
    figures: dict[str, Any] = {}
    tables: list[Table] = []
    for name, folder in BACKBONES.items():
        backbone = registry.load_image_encoder(f"timm:local-dir:{real}/timm/{folder}")
        rows = embed(backbone, [real / "photos" / "images" / each for each in names])
        aligner, _ = fit_aligner(
            [(names, rows, true)],
            backbone=encoder_ref(backbone),
            clip=encoder_ref(vit),
            recipe=FitRecipe(concepts=vit.encode_texts(vit.vocabulary)),
        )
        native = {split: embed(backbone, [path for path, _ in each]) for split, each in pictures.items()}
        labels = {split: np.array([classes.index(label) for _, label in each]) for split, each in pictures.items()}
        vectors = {split: aligner(each).cpu().numpy() for split, each in native.items()}
        labelled = Labelled(
            vectors["train"], labels["train"], tuple(classes), len(labels["train"]), native["train"].cpu().numpy()
        )
        fitted = fit_bottleneck(
            labelled,
            vocabulary,
            texts,
            Asked("cifar", "class", {name: said for name, said in WORDINGS.items() if name in classes}),
        )
        logits = Head(fitted.weights, fitted.bias).logits(
            Scale(fitted.directions, fitted.mean, fitted.sd).scores(vectors["test"])
        )
        test = float((logits.argmax(1) == labels["test"]).mean())
        left_out = [each.told for each in fitted.fitted.left_out]
        figures[name] = {**curve_figures(fitted), "test images, NCC 15": test, "left out": left_out}
        title = f"CIFAR-10 through {name} (test images at NCC 15: {test:.3f}); {fitted.verdict}"
        tables.append(curve_table(title, fitted))
    return figures, tables


def embed(encoder: ImageEncoder, paths: Sequence[Any]) -> torch.Tensor:
    parts = []
    for start in range(0, len(paths), BATCH):
        prepared = [encoder.prepare(decode_file(path)) for path in paths[start : start + BATCH]]
        parts.append(encoder.encode_images(torch.stack(prepared)).cpu())
    return torch.cat(parts)


def curve_figures(fitted: Bottleneck) -> dict[str, Any]:
    accuracy: dict[str, dict[str, float]] = {}
    for point in fitted.curve.points:
        accuracy.setdefault(point.head, {})["no limit" if point.most is None else f"NCC {point.most}"] = point.accuracy
    return {"accuracy": accuracy, "curve": fitted.curve.to_json(), "verdict": fitted.verdict}


def curve_table(title: str, fitted: Bottleneck) -> Table:
    return table(title, curve_figures(fitted)["accuracy"], [*(f"NCC {ncc}" for ncc in NCCS), "no limit"])


def measure(quick: bool) -> Measured:
    figures, tables, bars = drawn(quick)
    real, more = ({}, []) if quick else cifar()
    return Measured({"drawn world": figures, "CIFAR-10": real}, [*tables, *more], bars)


def _id(scene: Scene) -> str:
    return f"{scene.seed}-{scene.index}"
