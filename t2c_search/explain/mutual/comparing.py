"""Which encoders share most with a text side: the same images and classes, model by model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.explain.mutual.knowledge import Estimate
from t2c_search.explain.mutual.looking import BATCH, Looked
from t2c_search.explain.mutual.sides import Descriptors, knowledge_of
from t2c_search.results import Column, Tabular
from t2c_search.types import Failure, FloatArray

FIGURES = ("mutual_information", "auc", "jaccard", "shared")
"""Of ``Sharing``, those that models are compared by; the first orders them."""
Values = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image by its id and path, and the number of its class."""

    id: str
    path: str
    label: int


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model to compare: what looks at images by path, and a text side's descriptors and class vectors (c, d), in one space."""

    model: str
    look: Callable[[Sequence[str]], list[Looked]]
    descriptors: Descriptors
    classes: FloatArray


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A model's figures over the images, the same for all models.

    ``behind`` is how much less mutual information it has than the first, image by image; None for the first. ``accuracy`` is
    that of its zero-shot classes on the same images, where a field says what they are.
    """

    model: str
    mutual_information: Estimate
    auc: Estimate
    jaccard: Estimate
    shared: Estimate
    accuracy: Estimate | None
    behind: Estimate | None


@dataclass(frozen=True, slots=True)
class Comparison(Tabular):
    """Models, the one that shares most with the text side first.

    ``side`` descriptors of ``number`` are taken on either side. The ``images`` are those that every model could look at;
    ``failures`` those that could not be read.
    """

    classes: tuple[str, ...]
    descriptors: str
    number: int
    side: int
    images: int
    models: tuple[ComparedModel, ...]
    failures: tuple[Failure, ...] = ()

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each model; an interval's ends are columns of their own."""
        found: dict[str, Column] = {"model": [each.model for each in self.models]}
        for name in (*FIGURES, "accuracy", "behind"):
            estimates = [getattr(each, name) for each in self.models]
            for end in ("mean", "low", "high"):
                column = name if end == "mean" else f"{name}_{end}"
                found[column] = [None if each is None else getattr(each, end) for each in estimates]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c compare-models --json`` prints it."""
        return {
            **{name: getattr(self, name) for name in ("descriptors", "number", "side", "images")},
            "classes": list(self.classes),
            "models": [asdict(each) for each in self.models],
            "failures": [asdict(failure.redacted()) for failure in self.failures],
        }


def values_of(
    candidate: Candidate, images: Sequence[LabelledImage], tell: Callable[[int], None] = lambda images: None
) -> Values:
    """Return a model's figures for each of n images, ``FIGURES`` and ``accuracy`` (n,).

    A class's text side is that of its own words, its images are divided into parts together; vectors are taken about the mean
    of all the images. ``tell`` is told how many more were looked at. Held meanwhile are some hundred kilobytes an image. Raises
    ImageError for an image that cannot be read.
    """
    looked: list[Looked] = []
    for start in range(0, len(images), BATCH):
        looked += candidate.look([image.path for image in images[start : start + BATCH]])
        tell(len(looked) - start)
    vectors = np.array([each.vector for each in looked], np.float64)
    mean = vectors.mean(0)
    labels = np.array([image.label for image in images])
    found: dict[str, npt.NDArray[np.float64]] = {name: np.empty(len(images)) for name in FIGURES}
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label).tolist()
        said = candidate.descriptors.said(candidate.classes[label])
        several = [(images[at].id, images[at].path, looked[at]) for at in own]
        for at, each in zip(own, knowledge_of(several, said, candidate.descriptors, mean), strict=True):
            for name in FIGURES:
                found[name][at] = getattr(each.sharing, name)
    scores = (vectors - mean) @ candidate.classes.T
    return found | {"accuracy": (scores.argmax(1) == labels).astype(np.float64)}


def ranked(values: Mapping[str, Values], *, with_accuracy: bool = True) -> tuple[ComparedModel, ...]:
    """Return models by their ``values_of``, by name, in order of mutual information."""
    order = sorted(values, key=lambda model: -float(values[model][FIGURES[0]].mean()))
    best = values[order[0]][FIGURES[0]]
    return tuple(
        ComparedModel(
            model,
            **{name: Estimate.of(values[model][name]) for name in FIGURES},
            accuracy=Estimate.of(values[model]["accuracy"]) if with_accuracy else None,
            behind=None if at == 0 else Estimate.of(best - values[model][FIGURES[0]]),
        )
        for at, model in enumerate(order)
    )
