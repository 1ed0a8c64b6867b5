"""What a bottleneck says of images, which concepts say it, and what it would say if a concept were otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.bottleneck.concepts import Scale
from t2c_search.concepts.bottleneck.head import Array, Head
from t2c_search.errors import UsageError
from t2c_search.filters import Scalar
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.execution.selection import values_of
from t2c_search.query.language.constraints import Constraint
from t2c_search.results import Column, Tabular
from t2c_search.state.bottlenecks import Bottleneck
from t2c_search.types import CLIP, FloatArray

TOLD = 5
"""Contributions kept of each image: the largest."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's label, its share among the classes, and the concepts that made it: weight times score, largest first.

    ``before`` is the label without interventions.
    """

    id: str
    path: str
    label: Scalar
    share: float
    contributions: tuple[tuple[str, float], ...]
    before: Scalar


@dataclass(frozen=True, slots=True, eq=False)
class Predictions(Tabular):
    """Labels of n images in ascending order of id, a row each; in memory some 0.3 kB an image, most of it ids and paths.

    ``labels``, ``before`` and ``truth`` (n,) are places in ``classes``: the label, the label without interventions, and the
    field's value, -1 where it has none of the classes. ``shares`` (n,) are the label's among all classes: the logistic
    functions of the logits, scaled to sum to 1. ``told`` and ``parts`` (n, t) are the concepts that contribute most to the
    label, by their place in ``concepts``, and by how much.
    """

    bottleneck: str
    field: str
    classes: tuple[Scalar, ...]
    concepts: tuple[str, ...]
    ids: list[str]
    paths: list[str]
    labels: npt.NDArray[np.int16]
    before: npt.NDArray[np.int16]
    truth: npt.NDArray[np.int16]
    shares: FloatArray
    told: npt.NDArray[np.int16]
    parts: FloatArray
    changes: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: int) -> Prediction:
        parts = zip(self.told[at].tolist(), self.parts[at].tolist(), strict=True)
        return Prediction(
            self.ids[at],
            self.paths[at],
            self.classes[self.labels[at]],
            float(self.shares[at]),
            tuple((self.concepts[place], part) for place, part in parts if part),
            self.classes[self.before[at]],
        )

    def counts(self) -> dict[Scalar, int]:
        """Return how many images each class was given, in the order of the classes."""
        found = Counter(self.labels.tolist())
        return {label: found[at] for at, label in enumerate(self.classes)}

    @property
    def changed(self) -> int:
        """How many labels are others by the interventions."""
        return int((self.labels != self.before).sum())

    @property
    def accuracy(self) -> float | None:
        """Share of right labels, without interventions, among images whose field has a class; None where none has."""
        known = self.truth >= 0
        return float((self.before[known] == self.truth[known]).mean()) if known.any() else None

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each image; its contributions as lists of concepts and of numbers."""
        told = [[self.concepts[place] for place in row] for row in self.told.tolist()]
        columns: dict[str, Sequence[Any]] = {
            "id": self.ids,
            "path": self.paths,
            "label": [str(self.classes[at]) for at in self.labels.tolist()],
            "share": self.shares.tolist(),
            "concepts": told,
            "contributions": self.parts.tolist(),
        }
        if self.changes:
            columns["before"] = [str(self.classes[at]) for at in self.before.tolist()]
        return columns

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, an object for each image."""
        rows = [self[at] for at in range(len(self))]
        return {
            "bottleneck": self.bottleneck,
            "field": self.field,
            "images": len(self),
            "set": dict(self.changes),
            "counts": {str(label): count for label, count in self.counts().items()},
            "accuracy": self.accuracy,
            "changed": self.changed,
            "predictions": [
                {
                    "id": row.id,
                    "path": row.path,
                    "label": row.label,
                    "share": row.share,
                    "before": row.before,
                    "contributions": dict(row.contributions),
                }
                for row in rows
            ],
        }


def predict(
    searcher: Searcher, tree: Constraint | None, bottleneck: Bottleneck, changes: Mapping[str, float]
) -> Predictions:
    """Label the images that satisfy constraints, or all; ``changes`` set concepts' scores, in standard deviations.

    Raises UsageError, naming the nearest ones, for a concept that the bottleneck does not weigh.
    """
    fixed = _places(bottleneck, changes)
    scale = Scale(bottleneck.directions, bottleneck.mean, bottleneck.sd)
    head = Head(bottleneck.weights, bottleneck.bias)
    classes = {(type(label), label): at for at, label in enumerate(bottleneck.classes)}
    ids: list[str] = []
    paths: list[str] = []
    truth: list[int] = []
    parts: list[tuple[Any, ...]] = []
    for points in searcher.read(tree, vectors=(CLIP,), payload=("path", bottleneck.field)):
        scores = scale.scores(points.vectors[CLIP])
        before = head.logits(scores).argmax(1).astype(np.int16)
        for place, value in fixed.items():
            scores[:, place] = value
        parts.append((before, *_said(head, scores)))
        ids += points.ids
        for payload in points.payloads:
            values = values_of(payload, bottleneck.field)
            paths.append(str(payload.get("path", "")))
            truth.append(classes.get((type(values[0]), values[0]), -1) if len(values) == 1 else -1)
    if not parts:
        parts.append((np.empty(0, np.int16), *_said(head, np.empty((0, len(bottleneck.concepts))))))
    before, labels, shares, told, said = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Predictions(
        bottleneck.name, bottleneck.field, bottleneck.classes, bottleneck.concepts, ids, paths,
        labels, before, np.array(truth, np.int16), shares, told, said, dict(changes),
    )  # fmt: skip


def _said(head: Head, scores: Array) -> tuple[Any, ...]:
    """Return labels and their shares (n,), and the concepts that contribute most (n, t), and by how much."""
    logits = head.logits(scores)
    labels = logits.argmax(1)
    likely = 1 / (1 + np.exp(-logits))
    shares = (likely.max(1) / likely.sum(1)).astype(np.float32)
    contributions = scores * head.weights[labels]
    told = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :TOLD]
    parts = np.take_along_axis(contributions, told, axis=1).astype(np.float32)
    return labels.astype(np.int16), shares, told.astype(np.int16), parts


def _places(bottleneck: Bottleneck, changes: Mapping[str, float]) -> dict[int, float]:
    found: dict[int, float] = {}
    folded = {name.casefold(): at for at, name in enumerate(bottleneck.concepts)}
    for name, value in changes.items():
        if name.casefold() not in folded:
            near = get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"it weighs: {', '.join(bottleneck.concepts)}"
            )
            raise UsageError(f"{bottleneck.name!r} does not weigh {name!r}; {hint}")
        if not np.isfinite(value):
            raise UsageError(f"{name!r} cannot be set to {value}; expected standard deviations above the average image")
        found[folded[name.casefold()]] = float(value)
    return found
