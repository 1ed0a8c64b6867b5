"""How well concepts are found through an aligner, by repeated folds; and what several stages of a backbone are worth.

1. The 684 ViT-B/32 pairs: mean average precision over the concepts that at least ten of the photographs show, of that by the true
   vectors, 5 x 5 folds, with the 95 % interval of the five repetitions' mean. Nothing is chosen outside the training folds: the
   fit's own held-out pairs choose its strength.
2. Text to image on flickr-mini's 742 ``test`` photographs, fitted on ``train``: one stage of a backbone, and ``?layers=3``.
"""

from __future__ import annotations

import math
import statistics

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks._common import table
from benchmarks._parts import Measured, real_data
from benchmarks.alignment import (
    BACKBONES,
    FOLDS,
    REAL,
    Pairing,
    Photos,
    _text_recall,
    embed,
    mean_average_precision,
    shown_concepts,
)
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref

REPEATS, QUICK_REPEATS = 5, 1
QUICK = (40, 20, 60)
T_95 = 2.776  # of Student's t with the 4 degrees of freedom of five repetitions
STAGES = {"one stage": "", "three stages": "?layers=3"}


def measure(quick: bool) -> Measured:
    if real_data() is None:
        return Measured({"pairs": "real data not found: set T2C_REAL_DATA"}, [], [])
    photos = Photos(*QUICK) if quick else Photos()
    names = sorted(photos.place, key=photos.place.__getitem__)
    precision: dict[str, dict[str, float]] = {}
    recall = {"flickr-mini itself": _text_recall(photos, photos.of(photos.mini, photos.test))}
    for name, folder in BACKBONES.items():
        for stages, option in STAGES.items():
            if quick and (name, stages) != ("MobileNetV1", "one stage"):
                continue
            encoder = registry.load_image_encoder(f"timm:local-dir:{REAL}/timm/{folder}{option}")
            rows = embed([encoder], names)[0] if option else photos.features[name]
            ref = encoder_ref(encoder)
            vit = Pairing(ref, photos.vit_pairing.clip, photos.vit_pairing.concepts)
            mini = Pairing(ref, photos.mini_pairing[name].clip, photos.mini_pairing[name].concepts)
            methods = ("ridge", "ours") if not option and not quick else ("ours",)
            for method in methods:
                precision[f"{name}, {stages}, {method}"] = _by_folds(photos, vit, rows, method, quick)
            x, y = photos.of(rows, photos.train), photos.of(photos.mini, photos.train)
            fitted, _ = mini.closed_form(photos.train, x, y)
            recall[f"{name}, {stages}"] = _text_recall(photos, fitted.rows(photos.of(rows, photos.test)))
    return Measured(
        {"concepts_of_pairs": precision, "text_to_image": recall},
        [
            table(
                "684 ViT-B/32 pairs: mean average precision of concepts, of the true vectors' own (goal .80, no bar)",
                precision,
                ("of the true", "low", "high", "centred recall@1"),
            ),
            table("text to image, 742 test photographs", recall, ("recall@1", "recall@5", "recall@10")),
        ],
        [],
    )


def _by_folds(photos: Photos, pairing: Pairing, rows: Tensor, method: str, quick: bool) -> dict[str, float]:
    """Rank every photograph by the map fitted without its fold, by several ways of cutting folds."""
    names, x, y = photos.vit, photos.of(rows, photos.vit), photos.vit_rows
    relevant = shown_concepts(photos)
    own = mean_average_precision(photos, y, relevant)
    choice = {"method": "ridge", "criterion": "r2"} if method == "ridge" else {}
    found, hits = [], []
    for repeat in range(QUICK_REPEATS if quick else REPEATS):
        order = np.random.default_rng(repeat).permutation(len(names))
        aligned = torch.zeros_like(y)
        for fold in range(FOLDS):
            held = order[fold::FOLDS]
            rest = np.sort(np.setdiff1d(order, held))
            fitted, _ = pairing.closed_form([names[at] for at in rest], x[rest], y[rest], **choice)
            aligned[held] = fitted.rows(x[held])
            one, other = (normalize(each - each.mean(0)) for each in (aligned[held], y[held]))
            hits.append(float(((one @ other.T).argmax(1) == torch.arange(len(held))).float().mean()))
        found.append(mean_average_precision(photos, aligned, relevant) / own)
    mean = statistics.fmean(found)
    reach = T_95 * statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    return {"of the true": mean, "low": mean - reach, "high": mean + reach, "centred recall@1": statistics.fmean(hits)}
