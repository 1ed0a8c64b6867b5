"""Dark, blurred, empty and odd-sized pictures: by figures that were stored when they were indexed."""

from __future__ import annotations

import numpy as np

from t2c_search.concepts.audit.findings import Finding, figures, robust_z
from t2c_search.concepts.audit.reading import Known
from t2c_search.decoding.look import FIGURES

DARK = 0.1
"""Mean brightness below which a picture is dark: 25 of 255. Of 268 photographs one was, at 0.07."""
BLURRED = 0.05
"""Sharpness below which nothing in a picture is sharp. The least of those photographs had 0.07; blurred by 1 % of their
shorter side, 95 % had at most 0.04."""
EMPTY = 2.0
"""Entropy in bits below which a picture shows nothing: the least of those photographs had 3.6, noise on paper has 2."""
ODD = 6.0
"""Robust standard deviations from which a size or shape is odd ..."""
ODD_FACTOR = 2.0
"""... where it is also at least this many times the usual one, or as many times less: sizes may hardly vary at all."""


def find_plain_faults(known: Known) -> list[Finding]:
    """Return the dark, blurred, empty and odd-sized pictures; an empty one is not called blurred as well."""
    brightness, sharpness, entropy = known.look.T
    empty = entropy < EMPTY
    faults = {
        "dark": (brightness < DARK, 1 - brightness / DARK),
        "blurred": ((sharpness < BLURRED) & ~empty, 1 - sharpness / BLURRED),
        "empty": (empty, 1 - entropy / EMPTY),
    }
    found = [
        Finding(
            kind,
            0,
            round(float(score[at]), 4),
            known.ids[at],
            figures=figures(**dict(zip(FIGURES, known.look[at], strict=True))),
        )
        for kind, (is_so, score) in faults.items()
        for at in np.flatnonzero(is_so)
    ]
    return found + _odd_sizes(known)


def _odd_sizes(known: Known) -> list[Finding]:
    """Return pictures whose number of pixels, or longer over shorter side, is far from the usual; sizes unknown are none."""
    there = np.flatnonzero(known.sizes.min(axis=1) > 0)
    logs = np.log(known.sizes[there].astype(np.float64))
    odd: dict[int, float] = {}
    for measure in (logs.sum(axis=1), np.abs(logs[:, 0] - logs[:, 1])):
        z = np.abs(robust_z(measure))
        factor = np.exp(np.abs(measure - np.median(measure))) if len(there) else z
        for row in np.flatnonzero((z >= ODD) & (factor >= ODD_FACTOR)).tolist():
            odd[row] = max(odd.get(row, 0.0), float(factor[row]))
    usual = np.exp(np.median(logs, axis=0)) if len(there) else np.zeros(2)
    return [
        Finding(
            "odd size",
            0,
            round(times, 2),
            known.ids[there[row]],
            own=f"{known.sizes[there[row], 0]} x {known.sizes[there[row], 1]}",
            suggested=f"{usual[0]:.0f} x {usual[1]:.0f}",
            figures=figures(times_the_usual=times),
        )
        for row, times in odd.items()
    ]
