"""The bottlenecks saved with a collection, by name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.errors import CollectionFormatError, UsageError
from t2c_search.filters import Scalar
from t2c_search.results import Column, Tabular
from t2c_search.state.kept import Kept
from t2c_search.stores.protocol import VectorStore

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """How often one kind of head is right on held-out images, and the concepts its decisions take.

    ``most`` is the NCC allowed, ``ncc`` what it came to (concepts that cover 95 % of a decision's absolute contributions,
    mean over images); both are None for heads that use no concepts.
    """

    head: str
    accuracy: float
    most: int | None = None
    ncc: float | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    """What names give over the better random control at one NCC: difference of accuracies, with its 95 % interval."""

    most: int
    control: str
    difference: float
    low: float
    high: float

    @property
    def interpretable(self) -> bool:
        """Whether names are better beyond chance."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class BottleneckCurve(Tabular):
    """Accuracy against NCC, beside the controls, on held-out images of cross-validation; a row for each head."""

    points: tuple[CurvePoint, ...]
    gains: tuple[Gain, ...]

    def accuracy(self, head: str, most: int | None = None) -> float | None:
        """Return a head's accuracy at an NCC; None where it was not measured."""
        return next((each.accuracy for each in self.points if (each.head, each.most) == (head, most)), None)

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each head and NCC."""
        return {name: [getattr(each, name) for each in self.points] for name in ("head", "most", "ncc", "accuracy")}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        gains = [{**asdict(each), "interpretable": each.interpretable} for each in self.gains]
        return {"points": [asdict(each) for each in self.points], "gains": gains}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A concept left out, the class or concept it is too near to, and the cosine; None where it has the class's name in it."""

    concept: str
    near: str
    cosine: float | None

    @property
    def told(self) -> str:
        """Say it in short."""
        return f"{self.concept} ({self.near}{'' if self.cosine is None else f' {self.cosine:.2f}'})"


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a bottleneck was fitted on: ``images`` of the ``found`` that have one value of the field, and which words.

    ``concepts`` are those of the vocabulary that were not ``left_out``; ``rare`` the values that too few images have. ``ncc`` is
    the most that was asked for.
    """

    images: int
    found: int
    vocabulary: str
    concepts: int
    ncc: int
    seed: int
    left_out: tuple[LeftOut, ...] = ()
    rare: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Bottleneck(Tabular):
    """A classifier that sees images through k named concepts only; as a table, a row for each class and concept it weighs.

    A concept's score is the dot product of a unit row of CLIP space with its direction (a row of ``directions``, (k, d)) in
    standard deviations ``sd`` (k,) above ``mean`` (k,), those of the images fitted on: 0 is the average image. A class's logit is
    that of the class against all others: ``weights`` (c, k) times scores, plus ``bias`` (c,).
    """

    name: str
    field: str
    classes: tuple[Scalar, ...]
    concepts: tuple[str, ...]
    directions: Array
    mean: Array
    sd: Array
    weights: Array
    bias: Array
    curve: BottleneckCurve
    fitted: Fitted

    @property
    def gain(self) -> Gain:
        """What names give over random controls at the bottleneck's own NCC."""
        return next(each for each in self.curve.gains if each.most == self.fitted.ncc)

    @property
    def verdict(self) -> str:
        """Say in a sentence what the names are worth."""
        gain = self.gain
        told = (
            f"{100 * gain.difference:+.1f} points over {gain.control} at NCC {gain.most} "
            f"(95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        )
        return f"the names tell: {told}" if gain.interpretable else f"no interpretable gain: {told}"

    def weighed(self, label: Scalar) -> list[tuple[str, float]]:
        """Return a class's concepts and weights, heaviest first. Raises UsageError for no class of it."""
        if label not in self.classes:
            raise UsageError(f"{label!r} is no class of {self.name!r}; there are: {', '.join(map(str, self.classes))}")
        row = self.weights[self.classes.index(label)]
        places = [at for at in np.argsort(-np.abs(row), kind="stable").tolist() if row[at]]
        return [(self.concepts[at], float(row[at])) for at in places]

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each class and concept that it weighs, classes in order, heaviest concept first."""
        rows = [(str(label), *each) for label in self.classes for each in self.weighed(label)]
        return {name: [row[at] for row in rows] for at, name in enumerate(("class", "concept", "weight"))}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, without the directions."""
        return {
            "name": self.name,
            "field": self.field,
            "classes": list(self.classes),
            "concepts": list(self.concepts),
            "weights": {str(label): dict(self.weighed(label)) for label in self.classes},
            "verdict": self.verdict,
            "curve": self.curve.to_json(),
            "fitted": asdict(self.fitted),
        }


_ARRAYS = ("directions", "mean", "sd", "weights", "bias")


def dump_bottlenecks(bottlenecks: Mapping[str, Bottleneck]) -> bytes:
    """Serialise bottlenecks to an npz archive, to keep with their collection."""
    stream = io.BytesIO()
    told = [
        {
            "name": each.name,
            "field": each.field,
            "classes": each.classes,
            "concepts": each.concepts,
            "points": [asdict(point) for point in each.curve.points],
            "gains": [asdict(gain) for gain in each.curve.gains],
            "fitted": asdict(each.fitted),
        }
        for each in bottlenecks.values()
    ]
    arrays = {f"{name}_{at}": getattr(each, name) for at, each in enumerate(bottlenecks.values()) for name in _ARRAYS}
    np.savez(stream, told=np.array(json.dumps(told)), **arrays)
    return stream.getvalue()


def load_bottlenecks(content: bytes) -> Mapping[str, Bottleneck]:
    """Read what ``dump_bottlenecks`` wrote. Raises CollectionFormatError when it is something else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            found = [_bottleneck(told, at, stored) for at, told in enumerate(json.loads(str(stored["told"])))]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as exc:
        raise CollectionFormatError(f"the collection's bottlenecks cannot be read ({exc}); fit them again") from exc
    return {each.name: each for each in found}


def _bottleneck(told: Mapping[str, Any], at: int, stored: Mapping[str, Any]) -> Bottleneck:
    fitted = dict(told["fitted"])
    fitted["left_out"] = tuple(LeftOut(**each) for each in fitted["left_out"])
    fitted["rare"] = tuple(fitted["rare"])
    curve = BottleneckCurve(
        tuple(CurvePoint(**each) for each in told["points"]), tuple(Gain(**each) for each in told["gains"])
    )
    directions, mean, sd, weights, bias = (stored[f"{name}_{at}"] for name in _ARRAYS)
    return Bottleneck(
        told["name"],
        told["field"],
        tuple(told["classes"]),
        tuple(told["concepts"]),
        directions,
        mean,
        sd,
        weights,
        bias,
        curve,
        Fitted(**fitted),
    )


BOTTLENECKS: Kept[Mapping[str, Bottleneck]] = Kept("bottlenecks", {}, dump_bottlenecks, load_bottlenecks)


def save_bottleneck(store: VectorStore, bottleneck: Bottleneck) -> None:
    """Save a bottleneck, in place of one of its name; those that others save meanwhile stay."""
    BOTTLENECKS.update(store, lambda saved: {**saved, bottleneck.name: bottleneck})


def forget_bottleneck(store: VectorStore, name: str) -> None:
    """Forget a bottleneck. Raises UsageError, naming those there are, when there is none of that name."""

    def change(saved: Mapping[str, Bottleneck]) -> Mapping[str, Bottleneck]:
        named(saved, name)
        return {other: each for other, each in saved.items() if other != name}

    BOTTLENECKS.update(store, change)


def named(saved: Mapping[str, Bottleneck], name: str) -> Bottleneck:
    """Return a bottleneck. Raises UsageError, naming those there are, when there is none of that name."""
    if name not in saved:
        raise UsageError(f"no bottleneck is saved as {name!r}; there are: {', '.join(saved) or 'none'}")
    return saved[name]
