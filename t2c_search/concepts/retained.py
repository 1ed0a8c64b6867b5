"""How much of what one backbone knows arrives in another's space: the second one's probe, asked about the first one's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.results import Column, Tabular
from t2c_search.types import FloatArray, unit_rows

LEAST_A_CLASS = 10
_STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # of the ridge, for features of mean variance 1


@dataclass(frozen=True, slots=True)
class Retained(Tabular):
    """Accuracy of linear probes on labelled images that they did not see (Text-to-Concept, arXiv 2305.06386, section 4).

    ``of_other`` is the other model's probe on its own rows; ``carried`` that same probe, unchanged, on the first model's rows
    as the aligner carries them over; ``own`` the first model's own probe.
    """

    classes: int
    trained_on: int
    """Images the probes were trained on; the accuracies are of ``tested_on`` others."""
    tested_on: int
    own: float
    of_other: float
    carried: float

    @property
    def retained(self) -> float:
        """The share of the first model's own accuracy that is left of it in the other's space: ``carried / own``."""
        return self.carried / self.own

    def columns(self) -> Mapping[str, Column]:
        """One row for each probe."""
        probes = ("own", "of_other", "carried")
        return {"probe": list(probes), "accuracy": [getattr(self, probe) for probe in probes]}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return {**asdict(self), "retained": self.retained}


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """n labelled images in three spaces: rows as the first model (n, d_a) and the other (n, d_b) give them, and carried over."""

    labels: Sequence[str]
    own: FloatArray
    of_other: FloatArray
    carried: FloatArray


def retained_accuracy(images: Labelled, trained: Sequence[bool]) -> Retained:
    """Train both models' probes on the images marked in ``trained`` (n) and test them on the rest.

    Raises UsageError on fewer than two classes, or fewer than ten images of one.
    """
    labels, learn = np.asarray(images.labels), np.asarray(trained, bool)
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    if len(counts) < 2 or min(counts.values()) < LEAST_A_CLASS:
        few = ", ".join(f"{name} ({count})" for name, count in counts.items() if count < LEAST_A_CLASS)
        raise UsageError(
            f"retained accuracy takes two classes or more, with {LEAST_A_CLASS} images or more each: a folder for each class; "
            f"got {len(counts)} classes" + (f", too few of {few}" if few else "")
        )
    own, other = _probe(images.own[learn], labels[learn]), _probe(images.of_other[learn], labels[learn])
    test = ~learn
    return Retained(
        len(counts),
        int(learn.sum()),
        int(test.sum()),
        float(own.score(unit_rows(images.own[test]), labels[test])),
        float(other.score(unit_rows(images.of_other[test]), labels[test])),
        float(other.score(unit_rows(images.carried[test]), labels[test])),
    )


def _probe(rows: FloatArray, labels: Any) -> Any:
    """Train a linear classifier by least squares on unit rows (n, d), its ridge chosen by leaving one out."""
    from sklearn.linear_model import RidgeClassifierCV

    rows = unit_rows(rows)
    variance = float(rows.var(axis=0).sum())
    return RidgeClassifierCV([variance * len(rows) / min(rows.shape) * strength for strength in _STRENGTHS]).fit(
        rows, labels
    )
