"""What each side has more of, without saying it twice: words that the images do not tell apart are one finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.shift.result import ShiftedWord, ShiftFinding, ShownImage
from t2c_search.concepts.shift.sample import Sample
from t2c_search.concepts.shift.sides import Chosen
from t2c_search.query.planning.calibration import NORMAL_95, Array
from t2c_search.types import FloatArray

FINDINGS = 20
"""Findings of a side."""
LIKE = 0.5
"""Correlation of scores within a side from which two words may be one finding: they share most of what they measure."""
SAME = 0.1
"""Difference of g up to which, however sure it is, correlated words say the same: half of what is called a small effect."""
_TYPICAL, _OF_FINDING, _ILLUSTRATED = 12, 6, 5


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The words' directions (m, d), what was found of each (m), and the images that show it."""

    words: Sequence[ShiftedWord]
    directions: FloatArray
    sample: Sample


def find(seen: Seen, side: int, chosen: Chosen) -> tuple[tuple[ShiftFinding, ...], tuple[ShownImage, ...]]:
    """Return what a side (0: A) has more of, most first, and the images that are most like it and unlike the other."""
    sign = -1 if side else 1
    g = sign * np.array([word.g for word in seen.words])
    own = np.flatnonzero(seen.sample.is_a != bool(side))
    findings: list[tuple[ShiftedWord, tuple[str, ...], list[tuple[str, float]]]] = []
    for central, like in _groups(g, seen.directions, seen.sample):
        best: list[tuple[str, float]] = []
        if len(findings) < _ILLUSTRATED:
            best = _best(seen.sample, own, seen.directions[central].astype(np.float64), _OF_FINDING)
        findings.append((seen.words[central], tuple(seen.words[each].word for each in like), best))
    direction = sign * seen.sample.difference()
    spread = np.sqrt(max(float(direction @ seen.sample.covariance() @ direction), 1e-12))
    typical = _best(seen.sample, own, direction / spread, _TYPICAL)
    paths = _paths([image for *_, best in findings for image, _ in best] + [image for image, _ in typical], chosen)
    return (
        tuple(ShiftFinding(word, like, _shown(best, paths)) for word, like, best in findings),
        _shown(typical, paths),
    )


def _groups(g: Array, directions: FloatArray, sample: Sample) -> list[tuple[int, list[int]]]:
    """Return places of central words, each with those of its likes in order of g, for the words above 0.

    The word of largest g takes along those whose scores correlate with its own from ``LIKE`` on, and whose g is not
    distinguishable from its own: g1 - g2 has variance 2 (1 - r) (1 / nA + 1 / nB). The one that correlates best with
    all of them is the central one; then it is the next word's turn.
    """
    rows = directions.astype(np.float64)
    spread = rows @ sample.covariance()
    deviations = np.sqrt(np.maximum(np.einsum("md,md->m", spread, rows), 1e-12))
    error = sum(1 / count for count in sample.images)
    left = np.flatnonzero(g > 0)[np.argsort(-g[g > 0], kind="stable")]
    found: list[tuple[int, list[int]]] = []
    while len(left) and len(found) < FINDINGS:
        top = left[0]
        r = spread[left] @ rows[top] / (deviations[left] * deviations[top])
        r[0] = 1.0  # of a word that all images score alike in, rounding would leave another
        reach = np.maximum(NORMAL_95 * np.sqrt(2 * np.maximum(1 - r, 0) * error), SAME)
        like = (r >= LIKE) & (g[top] - g[left] <= reach)
        group = left[like]
        among = (spread[group] @ rows[group].T) / np.outer(deviations[group], deviations[group])
        central = group[np.argmax(among.sum(1))]
        found.append((int(central), [int(each) for each in group if each != central]))
        left = left[~like]
    return found


def _best(sample: Sample, own: npt.NDArray[np.intp], direction: Array, most: int) -> list[tuple[str, float]]:
    """Return ids and scores of a side's images (their places are ``own``) that score highest in a direction (d,)."""
    scores = sample.rows[own] @ direction
    chosen = np.argsort(-scores, kind="stable")[:most]
    return [(str(sample.ids[own[each]]), float(scores[each])) for each in chosen]


def _paths(ids: Sequence[str], chosen: Chosen) -> dict[str, str]:
    points = chosen.searcher.store.fetch(list(dict.fromkeys(ids)))
    return {each: str(payload.get("path", "")) for each, payload in zip(points.ids, points.payloads, strict=True)}


def _shown(images: Sequence[tuple[str, float]], paths: dict[str, str]) -> tuple[ShownImage, ...]:
    """Return images with their paths, but for those that were deleted meanwhile."""
    return tuple(ShownImage(image, paths[image], score) for image, score in images if image in paths)
