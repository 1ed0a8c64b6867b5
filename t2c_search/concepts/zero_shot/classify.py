"""Images to classes, batch by batch: in one pass, or two where something is fitted or estimated first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.zero_shot.classes import NamedClass
from t2c_search.concepts.zero_shot.judged import judge
from t2c_search.concepts.zero_shot.keys import Keys, hashes, keys_of
from t2c_search.concepts.zero_shot.labels import Labels
from t2c_search.concepts.zero_shot.likelihood import FOLDS, fit_rule
from t2c_search.concepts.zero_shot.result import ClassFit, Classified
from t2c_search.concepts.zero_shot.rule import Assigned, Rule
from t2c_search.concepts.zero_shot.sample import Sample
from t2c_search.concepts.zero_shot.shares import estimate_shares
from t2c_search.errors import UsageError
from t2c_search.query.planning.calibration import Array
from t2c_search.transport import clearing_prices, even
from t2c_search.types import CLIP, FloatArray, Payload, Points

LEAST_LABELLED = 20
"""Images that a fit by labels takes, so that some are held out of each fold."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How images are classified.

    ``centre``: a class's cosine with the collection's mean is taken off its scores. ``abstain``: the least margin by which a
    class must lead. ``against`` and ``calibrate`` name fields. ``priors``: the classes' shares are estimated, ``balance``:
    they are to be equal.
    """

    centre: bool = True
    abstain: float = 0.0
    against: str | None = None
    calibrate: str | None = None
    priors: bool = False
    balance: bool = False

    def check(self) -> None:
        """Raise UsageError for what does not go together."""
        if not 0 <= self.abstain < np.inf:
            raise UsageError(
                f"abstain is {self.abstain!r}: expected a margin of cosines, from 0 on; 0.01 is a usual one"
            )
        if self.priors and self.calibrate is None:
            raise UsageError("priors shift confidences, and those need labels: name a field of some with calibrate")
        if self.balance and self.calibrate is not None:
            raise UsageError("balance and calibrate decide the same, the classes' shares, in two ways: choose one")


class Reader(Protocol):
    """What yields the images to be classified, again at each call."""

    def __call__(self, *, payload: bool | tuple[str, ...]) -> Iterator[Points]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """The classes with their unit rows (k, d), and the collection's mean (d,)."""

    classes: tuple[NamedClass, ...]
    rows: FloatArray
    mean: Array

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(each.name for each in self.classes)


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """The rule for all images, and those for images whose labels took part in a fit: each was fitted without one fold."""

    final: Rule
    folds: tuple[Rule, ...] = ()
    fitted: ClassFit | None = None


def classify(read: Reader, directions: Directions, choices: Choices) -> Classified:
    """Classify the images that are read, in memory that is constant but for some numbers an image.

    One pass over them, or two where something is fitted or estimated, on a sample of at most 20,000. Raises UsageError for
    choices that do not go together, and for fields in which too few images have one of the classes.
    """
    choices.check()
    k = len(directions.rows)
    rules = _Rules(Rule(-(directions.rows @ directions.mean).astype(np.float64) if choices.centre else np.zeros(k)))
    if choices.calibrate is not None:
        rules = _fitted(read, directions, choices.calibrate, choices)
    elif choices.balance:
        rules = _Rules(_balanced(read, directions, rules.final))
    return _assign(read, directions, choices, rules)


def _balanced(read: Reader, directions: Directions, rule: Rule) -> Rule:
    """Shift a rule so that all classes have equal shares."""
    sample = Sample(len(directions.rows))
    for keys, cosines, _ in _batches(read, directions.rows, ()):
        sample.add(keys, cosines, np.full(len(keys), -1, np.int32))
    if not len(sample):
        return rule
    scores = sample.taken()[1] + rule.offsets
    return rule.shifted(clearing_prices(scores, even(scores.shape[1]))[0])


def _fitted(read: Reader, directions: Directions, field: str, choices: Choices) -> _Rules:
    """Fit rules by the labels in a field, and shift them to the estimated shares where these are asked for."""
    k, labels = len(directions.rows), Labels(field, directions.classes)
    everything, labelled = Sample(k), Sample(k)
    for keys, cosines, payloads in _batches(read, directions.rows, (field,)):
        truth = labels.read(payloads)
        known = truth >= 0
        labelled.add(keys[known], cosines[known], truth[known])
        if choices.priors:
            everything.add(keys, cosines, truth)
    labels.check(LEAST_LABELLED)
    hashed, cosines, truth = labelled.taken()
    final = fit_rule(cosines, truth)
    folds = tuple(fit_rule(cosines[kept], truth[kept]) for kept in (hashed % FOLDS != fold for fold in range(FOLDS)))
    assert final.slope is not None
    fitted = ClassFit(field, len(truth), 1 / final.slope, final.offsets * final.slope)
    if not choices.priors:
        return _Rules(final, folds, fitted)
    # a class that no label names is there too
    trained = (np.bincount(truth, minlength=k) + 0.5).astype(np.float64) / (len(truth) + 0.5 * k)
    shares = estimate_shares(final.log_posteriors(everything.taken()[1]), trained)
    odds = np.log(shares / trained)
    if choices.against is not None:  # by the field itself, the labelled images are judged at their own shares
        folds = tuple(fold.shifted(odds / fold.slope) for fold in folds if fold.slope)
    return _Rules(final.shifted(odds / final.slope), folds, replace(fitted, shares=shares))


def _assign(read: Reader, directions: Directions, choices: Choices, rules: _Rules) -> Classified:
    """Assign every image, and judge them all by a field, those whose label took part in a fit by the rule of their fold."""
    against = choices.against or choices.calibrate
    judging = None if against is None else Labels(against, directions.classes)
    fitting = None if choices.calibrate is None else Labels(choices.calibrate, directions.classes)
    fields = tuple(dict.fromkeys(each.field for each in (judging, fitting) if each is not None))
    keys, found, truths, judged = [], [], [], []
    for batch, cosines, payloads in _batches(read, directions.rows, fields):
        keys.append(batch)
        found.append(rules.final.assign(cosines))
        if judging is not None:
            truths.append(judging.read(payloads))
            judged.append(found[-1])
        if fitting is not None:
            judged[-1] = _by_fold(rules, fitting.read(payloads) >= 0, batch, cosines)
    if judging is not None:
        judging.check(1)
    told = None
    if judging is not None:
        told = judge(judging.field, directions.names, np.concatenate(truths), Assigned.joined(judged), choices.abstain)
    everything = np.concatenate([np.empty((0, 2), np.uint64), *keys])
    return Classified(directions.names, everything, Assigned.joined(found), choices.abstain, rules.fitted, told)


def _by_fold(rules: _Rules, labelled: npt.NDArray[np.bool_], keys: Keys, cosines: FloatArray) -> Assigned:
    """Assign the images of a batch so that no image's own label has a part in it."""
    folds = np.where(labelled, hashes(keys) % FOLDS, FOLDS)
    each = [rule.assign(cosines[folds == fold]) for fold, rule in enumerate((*rules.folds, rules.final))]
    order = np.argsort(np.argsort(folds, kind="stable"), kind="stable")
    return Assigned.joined(each).take(order)


def _batches(
    read: Reader, rows: FloatArray, fields: tuple[str, ...]
) -> Iterator[tuple[Keys, FloatArray, Sequence[Payload]]]:
    """Yield the images' keys (n, 2), cosines (n, k) and payloads, batch by batch."""
    for points in read(payload=fields or False):
        yield keys_of(points.ids), points.vectors[CLIP] @ rows.T, points.payloads
