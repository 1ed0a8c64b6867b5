"""How right classes are, by a field that tells: the confusion matrix, what abstaining gains, and whether confidences hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.zero_shot.rule import Assigned, Indices
from t2c_search.query.planning.calibration import Array
from t2c_search.results import Column, Tabular

BINS = 15
"""Of equal width, as in Guo et al., ICML 2017: what an expected calibration error is the mean over."""
_POINTS = 101  # of a risk-coverage curve

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Reliability(Tabular):
    """Confidence against accuracy of labelled images whose labels the fit had not seen.

    By 15 bins of confidence: the ``images`` (15,) in each, their mean ``confidence`` and ``accuracy`` (15,), NaN where empty.
    """

    images: Counts
    confidence: Array
    accuracy: Array

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy, over the images."""
        there = self.images > 0
        apart = np.abs(self.confidence[there] - self.accuracy[there])
        return float(apart @ self.images[there] / max(self.images.sum(), 1))

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each bin."""
        edges = np.linspace(0, 1, BINS + 1)
        return {
            "from": edges[:-1],
            "to": edges[1:],
            "images": self.images,
            "confidence": self.confidence,
            "accuracy": self.accuracy,
        }

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values; bins without an image are left out."""
        there = np.flatnonzero(self.images)
        bins = {name: np.asarray(column)[there].tolist() for name, column in self.columns().items()}
        return {"calibration_error": self.error, "bins": bins}


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage(Tabular):
    """What abstaining gains: how many images keep their class where it must lead by a ``margin`` (m,), and how right those are.

    ``coverage`` (m,) descends from 1, ``accuracy`` (m,) is that of the images kept.
    """

    margin: Array
    coverage: Array
    accuracy: Array

    @property
    def area(self) -> float:
        """Mean error over all coverages (the area under the risk-coverage curve)."""
        return float(1 - self.accuracy.mean())

    def at(self, coverage: float) -> tuple[float, float]:
        """Return the margin that keeps about this share of the images, and the accuracy there."""
        place = int(np.abs(self.coverage - coverage).argmin())
        return float(self.margin[place]), float(self.accuracy[place])

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each margin."""
        return {"margin": self.margin, "coverage": self.coverage, "accuracy": self.accuracy}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        return {"area": self.area, **{name: np.asarray(column).tolist() for name, column in self.columns().items()}}


@dataclass(frozen=True, slots=True, eq=False)
class Judged(Tabular):
    """Classes against the values of a payload ``field``, one row for each class of k.

    ``matrix`` (k, k + 1): images by their value and by the class they were given, the last column those given none.
    ``left_out`` have no value, one that is no class, or several that are. An image's own label has no part in how it was
    classified here.
    """

    field: str
    classes: tuple[str, ...]
    matrix: Counts
    left_out: int
    risk: RiskCoverage
    reliability: Reliability | None = None

    @property
    def images(self) -> int:
        """How many images were judged."""
        return int(self.matrix.sum())

    @property
    def accuracy(self) -> float:
        """Share of the images that were given a class whose class is their value; NaN where none was."""
        return float(np.trace(self.matrix) / given) if (given := self.matrix[:, :-1].sum()) else float("nan")

    @property
    def coverage(self) -> float:
        """Share of the images that were given a class."""
        return float(self.matrix[:, :-1].sum() / self.images)

    @property
    def recall(self) -> Array:
        """By class, the share of the images of that value that were given it, (k,); NaN where there is none."""
        return _ratio(np.diagonal(self.matrix), self.matrix.sum(1))

    @property
    def precision(self) -> Array:
        """By class, the share of the images given it whose value it is, (k,); NaN where there is none."""
        return _ratio(np.diagonal(self.matrix), self.matrix[:, :-1].sum(0))

    @property
    def mean_recall(self) -> float:
        """The mean over the classes that have images, whatever their shares."""
        return float(np.nanmean(self.recall))

    def columns(self) -> Mapping[str, Column]:
        """Return the confusion matrix, a row for each class, with recall and precision."""
        given = {f"as {name}": self.matrix[:, at] for at, name in enumerate(self.classes)}
        own = {"class": self.classes, "images": self.matrix.sum(1), "recall": self.recall, "precision": self.precision}
        return {**own, **given, "as none": self.matrix[:, -1]}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        return {
            "field": self.field,
            "images": self.images,
            "left_out": self.left_out,
            "accuracy": plain(self.accuracy),
            "coverage": self.coverage,
            "mean_recall": self.mean_recall,
            "matrix": self.matrix.tolist(),
            "risk_coverage": self.risk.to_json(),
            "reliability": self.reliability and self.reliability.to_json(),
        }


def judge(field: str, classes: tuple[str, ...], truth: Indices, assigned: Assigned, abstain: float) -> Judged:
    """Compare assigned classes with the truth (n,), -1 for images that have none; below ``abstain`` none is given."""
    known = np.flatnonzero(truth >= 0)
    wanted, found, margins = truth[known], assigned.classes[known], assigned.margins[known]
    k = len(classes)
    given = np.where(margins < abstain, k, found)
    matrix = np.bincount(wanted * (k + 1) + given, minlength=k * (k + 1)).reshape(k, k + 1)
    right = wanted == found
    sure = None if assigned.confidences is None else _reliability(assigned.confidences[known], right)
    return Judged(field, classes, matrix, len(truth) - len(known), _risk(margins, right), sure)


def _risk(margins: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> RiskCoverage:
    order = np.argsort(-margins, kind="stable")
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    kept = np.unique(np.linspace(len(order), 1, min(_POINTS, len(order))).round().astype(int))[::-1]
    return RiskCoverage(margins[order][kept - 1].astype(float), kept / len(order), accuracy[kept - 1])


def _reliability(confidences: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> Reliability:
    places = np.minimum((confidences * BINS).astype(int), BINS - 1)
    images = np.bincount(places, minlength=BINS)
    sums = (np.bincount(places, weights, BINS) for weights in (confidences, right))
    confidence, accuracy = (_ratio(total, images) for total in sums)
    return Reliability(images, confidence, accuracy)


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Array:
    ratio: Array = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio


def plain(value: float) -> float | None:
    """Return a number as JSON has it, which knows no NaN."""
    return None if np.isnan(value) else value
