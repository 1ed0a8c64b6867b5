"""Whether factors say what the model does: sums of places against masked pictures, deletion, insertion, shuffled weights.

- *p-faithfulness*: under random masks that keep each place with probability 0.7, the true scores against the sums of the kept
  places' parts: R2 of the best line, and Spearman's correlation, mean over pictures (FIxLIP, Baniecki et al. 2025).
- *deletion, insertion*: mean score while places are taken out, or put back, best first; beside it a random order's.
- *residual*: what base and parts leave of the vector, as a part of what they should add up to; by the number of nodes of the
  integral where there is one. Banzhaf values are no integral: theirs is how far the fit is off at the picture itself.
- *shuffled*: Spearman's correlation of a map with that of the same model with shuffled weights, and the same aligner.

Each test photograph is asked about by its first caption. A place that is masked has the mean colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks._captions import read_captions
from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.explanations._masked import curves, masked_scores
from benchmarks.explanations._models import Model, Picture, shuffle
from benchmarks.explanations._real import load_encoder, photo, real_model
from t2c_search.attribution import analytic
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.explain.maps import maps

PHOTOS = {"flickr-mini": 16, "MobileNetV1": 16, "MobileNetV2": 16, "ViT-S": 4}
QUICK_PHOTOS = {"MobileNetV1": 1}
MASKS, KEPT, SEED = 128, 0.7, 11  # others than Banzhaf values are fitted on
NODES = (1, 2, 4, 8, 16)
COLUMNS = (
    "photos",
    "places",
    "R2",
    "Spearman",
    "deletion",
    "random deletion",
    "insertion",
    "random insertion",
    "residual",
    "shuffled",
)


def measure(quick: bool) -> Measured:
    if real_data() is None:
        return Measured({"faithfulness": "real data not found: set T2C_REAL_DATA"}, [], [])
    captions = list(read_captions("test").items())
    figures: dict[str, dict[str, Any]] = {}
    bars = []
    for name, number in (QUICK_PHOTOS if quick else PHOTOS).items():
        model, pictures = real_model(name, quick), [photo(each) for each, _ in captions[:number]]
        rows = model.texts([told[0] for _, told in captions[:number]])
        for method in ("auto", "banzhaf"):
            factors = model.factors_of(pictures, method)
            title = f"{name}, {factors.method}"
            found = figures[title] = _figures(model, factors, pictures, rows)
            if method == "auto":
                found["shuffled"] = _shuffled(name, model, pictures, rows)
                bars.append(
                    Bar(f"{title}: correlation with shuffled weights' maps", abs(found["shuffled"]), 0.3, most=True)
                )
            lost = found["deletion"] - found["random deletion"]
            bars.append(Bar(f"{title}: score left by deletion, over random order's", lost, 0.0, most=True))
    shown = [table("faithfulness on test photographs", figures, COLUMNS)]
    if not quick:
        by_nodes = {f"{nodes} nodes": {"residual": residual} for nodes, residual in _by_nodes(pictures).items()}
        shown.append(table("residual of ViT-S, analytic", by_nodes, ("residual",)))
        figures |= by_nodes
    return Measured({"faithfulness": figures}, shown, bars)


def _figures(model: Model, factors: PlaceFactors, pictures: Sequence[Picture], rows: Tensor) -> dict[str, Any]:
    found = maps(factors, rows.unsqueeze(1), model.mean)[:, 0]
    generator = torch.Generator().manual_seed(SEED)
    kept = (torch.rand(MASKS, found.shape[1], generator=generator) < KEPT).float()
    told = []
    for picture, row, own in zip(pictures, rows, found, strict=True):
        true = masked_scores(model, model.pixels([picture])[0], factors.grid, kept, row[None])[:, 0]
        said = kept @ own
        told.append(
            (float(torch.corrcoef(torch.stack([true, said]))[0, 1]) ** 2, float(spearmanr(true, said).statistic))
        )
    return {
        "photos": len(pictures),
        "places": found.shape[1],
        "R2": fmean(r2 for r2, _ in told),
        "Spearman": fmean(rho for _, rho in told),
        **curves(model, pictures, rows, found, factors.grid),
        "residual": float(factors.unexplained.mean()),
    }


def _by_nodes(pictures: Sequence[Picture]) -> dict[int, float]:
    model = real_model("ViT-S", False)
    pixels = model.pixels(pictures)
    found = {nodes: analytic.factors(model.encoder, model.aligner, pixels, nodes) for nodes in NODES}
    return {nodes: float(factors.unexplained.mean()) for nodes, factors in found.items()}


def _shuffled(name: str, model: Model, pictures: Sequence[Picture], rows: Tensor) -> float:
    other = replace(model, encoder=load_encoder(name))
    shuffle(other.encoder)
    one, two = (maps(each.factors_of(pictures), rows.unsqueeze(1), model.mean)[:, 0] for each in (model, other))
    return fmean(float(spearmanr(own, changed).statistic) for own, changed in zip(one, two, strict=True))
