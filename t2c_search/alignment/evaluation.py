"""Figures of an alignment on held-out pairs; each is a function of arrays, and higher is better."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

_TINY = 1e-12  # a variance below this is float32's rounding of a constant


def r2_per_dimension(predicted: Tensor, true: Tensor) -> float:
    """1 - residual / variance per column of (n, d), averaged over the columns that vary."""
    variance = (true - true.mean(0)).square().mean(0)
    residual = (predicted - true).square().mean(0)
    varies = variance > _TINY
    return float((1 - residual[varies] / variance[varies]).mean())


def mean_cosine(rows: Tensor, true: Tensor) -> float:
    """Mean of the cosines of corresponding unit rows (n, d)."""
    return float((rows * true).sum(1).mean())


def concept_fidelity(rows: Tensor, true: Tensor, concepts: Tensor) -> float:
    """Mean over concepts (v, d) of the correlation across images of ``concept . row`` and ``concept . true``.

    It asks whether a text ranks the images by the aligned unit rows (n, d) as it does by the true ones, without labels.
    A concept whose cosine does not vary counts as correlation 0.
    """
    ours, theirs = rows @ concepts.T, true @ concepts.T
    ours, theirs = ours - ours.mean(0), theirs - theirs.mean(0)
    our_variance, their_variance = ours.square().mean(0), theirs.square().mean(0)
    varies = (our_variance > _TINY) & (their_variance > _TINY)
    correlation = (ours * theirs).mean(0) / (our_variance * their_variance).sqrt()
    return float(correlation.where(varies, 0).mean())


def recall(rows: Tensor, true: Tensor, k: int) -> float:
    """Share of unit rows (n, d) that have their own true row among the k nearest true rows, by cosine."""
    cosines = rows @ true.T
    own = cosines.diagonal().unsqueeze(1)
    return float(((cosines > own).sum(1) < k).double().mean())


def centred(rows: Tensor) -> Tensor:
    """Unit rows (n, d) after subtracting their mean."""
    return normalize(rows - rows.mean(0))
