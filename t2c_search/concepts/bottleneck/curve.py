"""How good a bottleneck is, by cross-validation, beside what it must be compared with.

Random words and random directions as concepts reach nearly what named ones do, once there are enough of them ("leakage"):
an accuracy says nothing of the names unless theirs is better at the same number of contributing concepts (NCC). All ways are
fitted alike, on the same folds: the same number of directions, the same choice among them, the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.bottleneck.concepts import Scale, most_telling, random_directions
from t2c_search.concepts.bottleneck.head import Array, Head, sparse_path
from t2c_search.concepts.bottleneck.sample import Labelled, Labels
from t2c_search.state.bottlenecks import BottleneckCurve, CurvePoint, Gain
from t2c_search.types import FloatArray, unit_rows

FOLDS = 5
NCCS = (5, 10, 15, 30)
NAMES, DIRECTIONS, WORDS = "named concepts", "random directions", "random words"
PROBE, DENSE, ZERO_SHOT = "probe on native vectors", "dense head on CLIP-space vectors", "zero-shot"
LABEL_FREE = "label-free head"
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # of 1 / ridge, for dense heads
_NORMAL_95 = 1.96

Split = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Text vectors, (k, d) each: of the concepts' ``names``, of as many random ``words``, of the ``classes`` (c, d).

    None: there is no text model for the words, no words for the classes.
    """

    names: FloatArray
    words: FloatArray | None = None
    classes: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The heads of one fit, each with its NCC on the images it was asked about, over the concepts it was fitted on."""

    scale: Scale
    places: npt.NDArray[np.integer]
    heads: list[tuple[float, Head]]

    def at(self, most: float) -> tuple[float, Head]:
        """Return the head of most concepts within an NCC."""
        return [each for each in self.heads if each[0] <= most][-1]


def fit_path(directions: npt.NDArray[np.floating], vectors: FloatArray, labels: Labels, most: float) -> Path:
    """Fit a path on images (n, d): choose among the directions (k, d), and let in more and more of those chosen."""
    scale = Scale.of(directions, vectors)
    scores = scale.scores(vectors)
    places = most_telling(scores, labels)
    scores = scores[:, places]
    heads = [(head.contributing(scores), head) for head in sparse_path(scores, labels, most)]
    return Path(scale.take(places), places, heads)


def measure(labelled: Labelled, rows: Rows, nccs: Sequence[int], seed: int) -> BottleneckCurve:
    """Cross-validate names and controls at these NCCs."""
    splits = _splits(labelled.labels, seed)
    count, dim = rows.names.shape
    ways: dict[str, Callable[[int], npt.NDArray[np.floating]]] = {
        NAMES: lambda fold: rows.names,
        DIRECTIONS: lambda fold: random_directions(count, dim, seed * FOLDS + fold),  # others in each fold
    }
    if (words := rows.words) is not None:
        ways[WORDS] = lambda fold: words
    right: dict[tuple[str, int], npt.NDArray[np.bool_]] = {}
    points: list[CurvePoint] = []
    for name, directions in ways.items():
        for most, hits, ncc in _held_out(labelled, splits, directions, nccs):
            right[name, most] = hits
            points.append(CurvePoint(name, float(hits.mean()), most, ncc))
    if rows.classes is not None:
        points += _label_free(labelled, rows.names, rows.classes, nccs)
        points.append(CurvePoint(ZERO_SHOT, _zero_shot(labelled, rows.classes)))
    points.append(CurvePoint(DENSE, _dense(labelled.vectors, labelled.labels, splits)))
    if labelled.native is not None:
        points.append(CurvePoint(PROBE, _dense(labelled.native, labelled.labels, splits)))
    return BottleneckCurve(
        tuple(points), tuple(_gain(right, most, [name for name in ways if name != NAMES]) for most in nccs)
    )


def _splits(labels: Labels, seed: int) -> list[Split]:
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels))


def _held_out(
    labelled: Labelled,
    splits: Sequence[Split],
    directions: Callable[[int], npt.NDArray[np.floating]],
    nccs: Sequence[int],
) -> Iterator[tuple[int, npt.NDArray[np.bool_], float]]:
    """Yield for each NCC which images are told right by heads fitted without them, and the NCC it came to on these."""
    right = {most: np.zeros(len(labelled.labels), bool) for most in nccs}
    came_to: dict[int, list[float]] = {most: [] for most in nccs}
    for fold, (fitted, held) in enumerate(splits):
        path = fit_path(directions(fold), labelled.vectors[fitted], labelled.labels[fitted], max(nccs))
        scores = path.scale.scores(labelled.vectors[held])
        for most in nccs:
            _, head = path.at(most)
            right[most][held] = head.logits(scores).argmax(1) == labelled.labels[held]
            came_to[most].append(head.contributing(scores))
    for most in nccs:
        yield most, right[most], float(np.mean(came_to[most]))


def _label_free(
    labelled: Labelled, names: FloatArray, classes: FloatArray, nccs: Sequence[int]
) -> Iterator[CurvePoint]:
    """Judge W = U C' (U-F2-CBM): classes' texts times concepts' texts, both less their mean, each class's heaviest kept."""
    scale = Scale.of(names, labelled.vectors)
    scores = scale.scores(labelled.vectors)
    weights = unit_rows(classes - classes.mean(0)) @ unit_rows(names - names.mean(0)).T
    for most in nccs:
        least = -np.partition(-np.abs(weights), min(most, weights.shape[1]) - 1, axis=1)[
            :, [min(most, weights.shape[1]) - 1]
        ]
        head = Head(np.where(np.abs(weights) >= least, weights, 0), np.zeros(len(classes)))
        right = head.logits(scores).argmax(1) == labelled.labels
        yield CurvePoint(LABEL_FREE, float(right.mean()), most, head.contributing(scores))


def _zero_shot(labelled: Labelled, classes: FloatArray) -> float:
    """Tell images by the class text nearest to them, both less their mean."""
    centred = labelled.vectors - labelled.vectors.mean(0)
    return float(((centred @ unit_rows(classes - classes.mean(0)).T).argmax(1) == labelled.labels).mean())


def _dense(rows: FloatArray, labels: Labels, splits: Sequence[Split]) -> float:
    """Cross-validate a linear probe of the strength that is best on the first fold's held-out images, which favours it."""

    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def judge(split: Split, strength: float) -> float:
        fitted, held = split
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000, tol=1e-3))
        return float(probe.fit(rows[fitted], labels[fitted]).score(rows[held], labels[held]))

    first = {strength: judge(splits[0], strength) for strength in _STRENGTHS}
    best = max(first, key=lambda strength: first[strength])
    return float(np.mean([first[best], *(judge(split, best) for split in splits[1:])]))


def _gain(right: Mapping[tuple[str, int], npt.NDArray[np.bool_]], most: int, controls: Sequence[str]) -> Gain:
    """Compare names with the better control, image by image."""
    control = max(controls, key=lambda name: right[name, most].mean())
    differences: Array = right[NAMES, most].astype(np.float64) - right[control, most]
    mean, error = float(differences.mean()), float(differences.std() / np.sqrt(len(differences)))
    return Gain(most, control, mean, mean - _NORMAL_95 * error, mean + _NORMAL_95 * error)
