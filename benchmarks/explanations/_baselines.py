"""Maps by others' ways, each for k rows over n pictures: (n, k, rows, columns)."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.explanations._models import Model
from t2c_search.attribution.jacobian import cut_at
from t2c_search.encoders.capabilities import FeatureMap


def gradient_times_input(model: Model, pixels: Tensor, rows: Tensor) -> Tensor:
    """The pixels' gradient times the pixels, summed over channels."""
    pixels = pixels.detach().requires_grad_()
    scores = (model.rows(pixels).unsqueeze(1) * rows).sum((0, 2))
    gradients = [torch.autograd.grad(score, pixels, retain_graph=True)[0] for score in scores]
    return torch.stack([(gradient * pixels).sum(1).detach() for gradient in gradients], 1)


def grad_cam(model: Model, pixels: Tensor, rows: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017): features before pooling, or into the last block, weighted by their mean gradients."""
    cut = cut_at(model.encoder, pixels)
    values, places = cut.values[:-1].detach().requires_grad_(), cut.grid[0] * cut.grid[1]
    scores = (model.project(cut.read(values)).unsqueeze(1) * rows).sum((0, 2))
    found = []
    for score in scores:
        (gradient,) = torch.autograd.grad(score, values, retain_graph=True)
        weights = gradient[:, -places:].mean(1, keepdim=True)
        found.append((values.detach()[:, -places:] * weights).sum(2).clamp(min=0).unflatten(1, cut.grid))
    return torch.stack(found, 1)


def mask_clip(model: Model, pixels: Tensor, rows: Tensor) -> Tensor:
    """MaskCLIP (Zhou et al. 2022): each place's features through the head as if they were the whole picture, against the text."""
    with torch.no_grad():
        features = model.encoder.feature_map(pixels)
        places = features.grid[0] * features.grid[1]
        alone = features.values[:, -places:].flatten(0, 1).unsqueeze(1)
        found = model.project(model.encoder.head(FeatureMap(alone, (1, 1)))).unflatten(0, (-1, places))
    return (rows @ found.mT).unflatten(2, features.grid)
