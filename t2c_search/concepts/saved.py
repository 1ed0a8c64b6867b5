"""Concepts that a user teaches by examples and uses by name: a direction, and the threshold that suits it."""

from __future__ import annotations

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.query.language.concepts import check_name
from t2c_search.query.planning.calibration import Array, Axis, Calibration
from t2c_search.state.concepts import SavedConcept
from t2c_search.types import FloatArray

EXAMPLES_FOR_HALF = 10
"""Positive examples that weigh as much as the text does: the best of 5, 8, 10, 15, 25 and 50 on real photos."""
ENOUGH_EXAMPLES = 10
"""Marked images, with it and without, from which a threshold is more than a guess: ``benchmarks.constraints`` marks 20."""
_LEAST_SHIFT = 1e-6  # of the examples' mean from the collection's, below which it is rounding
_STRAY = 0.1
"""Share of the images marked among hits that may lie in the lower half of the ranking all the same."""
_LOG_SLOPE, _OFFSET = (0.34, 0.45), (-2.8, 1.4)
"""Prior mean and deviation of the logistic regression of "shows it" on z: those of 35 words of real captions."""


def fit_concept(
    name: str, yes: FloatArray, no: FloatArray, calibration: Calibration, text: Array | None = None
) -> SavedConcept:
    """Learn a concept from unit rows (n, d) that show it and (m, d) that do not, and optionally its text's (d,).

    The text's direction may be that of several wordings, ``Texts.worded``. The concept's lies between it and that of
    the positives' mean less the collection's; a text alone is its own direction, with the default threshold. Raises
    UsageError without anything to learn from, or for a name that cannot be used.

    A user marks hits: a few at the top, and every so many further down to where nothing shows it any more
    (``benchmarks.constraints`` marks 20, evenly down to the middle of the ranking). Images picked from anywhere do too.
    The first hits alone, when all of them show it, do not: the threshold is then taken to lie near them, and too high.
    """
    try:
        check_name(name)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if not len(yes) and text is None:
        raise UsageError(f"concept {name!r} needs an example that shows it, or its text")
    if text is not None and not len(yes) and not len(no):
        return SavedConcept(name, calibration.axis(text).direction)
    rows = yes.astype(np.float64)
    if text is None and np.linalg.norm(rows.mean(axis=0) - calibration.mean) < _LEAST_SHIFT:
        raise UsageError(
            f"the examples of concept {name!r} are, on average, the collection itself: give fewer that show it, or its text"
        )
    axis = _between(text, rows, calibration)
    alone = text is None and len(rows) == 1
    others = [axis if alone else _between(text, np.delete(rows, at, axis=0), calibration) for at in range(len(rows))]
    scores = np.array([other.z(row @ other.direction) for row, other in zip(rows, others, strict=True)])
    collection = calibration.sample.astype(np.float64)
    shown_by = axis.direction if text is None else text  # by which they were found, if they are hits
    among_hits = _odds_of_hits(no @ shown_by, collection @ shown_by)
    sample = axis.z(collection @ axis.direction)
    return SavedConcept(name, axis.direction, _threshold(scores, axis.z(no @ axis.direction), sample, among_hits))


def _between(text: Array | None, positives: Array, calibration: Calibration) -> Axis:
    """Axis between the text's and the positives'; the share of either grows with what it is known from."""
    share = 1.0 if text is None else len(positives) / (len(positives) + EXAMPLES_FOR_HALF)
    direction = np.zeros(calibration.mean.shape)
    if text is not None:
        worded = calibration.axis(text)
        direction += (1 - share) * worded.direction / worded.sd
    shift = np.mean(positives, axis=0) - calibration.mean if len(positives) else np.zeros(calibration.mean.shape)
    if np.linalg.norm(shift) > 0:
        shown = calibration.axis(shift)
        direction += share * shown.direction / shown.sd
    return calibration.axis(direction)


def _odds_of_hits(no: Array, sample: Array) -> float:
    """Log odds that negatives, by their scores, were marked in the upper half of a ranking, not picked from all images."""
    if not len(sample):
        return 0.0
    above = int(np.count_nonzero(no > np.median(sample)))
    return float(above * np.log(2 * (1 - _STRAY)) + (len(no) - above) * np.log(2 * _STRAY))


def _threshold(yes: Array, no: Array, sample: Array, among_hits: float) -> float:
    """Choose a threshold in standard deviations from the z of positives and negatives, and of the collection's sample.

    Examples come in two ways, and the negatives tell which, with these log odds. Picked at large, they look like the
    collection; then the threshold is a fixed part of the way from their mean to the positives'. Marked among hits, they
    score high themselves, and only the odds of a yes at a given z mean anything.
    """
    at_large = 0.2 * no.sum() / (len(no) + 2) + 0.8 * (yes.sum() + 1.5) / (len(yes) + 1)
    if not len(no) or not len(sample):
        return float(at_large)
    share = 1 / (1 + np.exp(np.clip(among_hits, -30, 30)))
    return float(share * at_large + (1 - share) * _best_expected_f1(yes, no, sample))


def _best_expected_f1(yes: Array, no: Array, sample: Array) -> float:
    """Threshold of the highest expected F1 on the sample, under the posterior of a logistic regression on z."""
    grid = np.meshgrid(np.linspace(-1.2, 1.6, 25), np.linspace(-7.0, 1.5, 35), indexing="ij")
    log_slope, offset = grid[0].ravel(), grid[1].ravel()
    prior = _log_normal(log_slope, *_LOG_SLOPE) + _log_normal(offset, *_OFFSET)
    slope = np.exp(log_slope)[:, None]
    likelihood = -np.logaddexp(0, -(slope * yes + offset[:, None])).sum(1)
    likelihood -= np.logaddexp(0, slope * no + offset[:, None]).sum(1)
    weight = np.exp(prior + likelihood - (prior + likelihood).max())
    kept = weight > 1e-4 * weight.max()
    ordered = np.sort(sample)[::-1]
    shows = 1 / (1 + np.exp(-(slope[kept] * ordered + offset[kept, None])))
    found = np.cumsum(shows, axis=1)
    f1 = 2 * found / (np.arange(1, len(ordered) + 1) + found[:, -1:])
    return float(ordered[np.argmax(weight[kept] @ f1)])


def _log_normal(values: Array, mean: float, deviation: float) -> Array:
    density: Array = -0.5 * ((values - mean) / deviation) ** 2 - np.log(deviation)
    return density
