"""What an audit returns: findings, ranked within their kind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.results import Tabular

Floats = npt.NDArray[np.float64]

_LEAST_SPREAD = 1e-9  # where most values are the same, any other is far off

KINDS = {
    "caption": "Captions that do not fit their picture",
    "stray caption": "One caption that fits neither its picture nor the others",
    "value": "Values that the pictures contradict",
    "alike": "Values that cannot be told apart",
    "leak": "The same picture under two values",
    "outlier": "Pictures unlike all others",
    "dark": "Dark pictures",
    "blurred": "Blurred pictures",
    "empty": "Empty pictures",
    "odd size": "Pictures of an odd size",
}
"""The kinds of findings, with their headings, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One image that the numbers speak against, or a pair of values (``alike``), shown by an image of each.

    ``score`` ranks within the kind, the worst first, in the kind's own unit. ``own`` is what stands in the collection, a
    value or a caption; ``suggested`` what the numbers say instead; ``other`` the path of the image it is compared with;
    ``figures`` are the numbers themselves, by name.
    """

    kind: str
    rank: int
    score: float
    id: str
    path: str = ""
    own: str = ""
    suggested: str = ""
    other: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Audit(Tabular):
    """What was found among so many ``images``; ``notes`` say what could not be looked for, and what would help."""

    images: int
    field: str | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def of(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind, the worst first."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind that has any."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def columns(self) -> dict[str, list[Any]]:
        """Return a row for each finding; the figures are JSON in their cells."""
        rows = [{**asdict(each), "figures": json.dumps(dict(each.figures))} for each in self.findings]
        names = ("kind", "rank", "score", "id", "path", "own", "suggested", "other", "figures")
        return {name: [row[name] for row in rows] for name in names}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c audit --json`` prints it after the collection's name."""
        return {
            "images": self.images,
            "field": self.field,
            "counts": self.counts,
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings of one kind from the worst on, numbered; ties by id."""
    ordered = sorted(findings, key=lambda each: (-each.score, each.id))
    return [replace(each, rank=rank) for rank, each in enumerate(ordered, 1)]


def figures(**numbers: float) -> dict[str, float]:
    """Return numbers as they are shown: rounded to four places."""
    return {name.replace("_", " "): round(float(number), 4) for name, number in numbers.items()}


def robust_z(values: Floats, among: Floats | None = None) -> Floats:
    """Map values (n,) to standard deviations from the median of ``among`` (their own, if left out), by the median deviation.

    What few values are does not move it, as it would a mean: a twentieth of wrong ones leaves the scale as it is.
    """
    known = values if among is None else among
    known = known[np.isfinite(known)]
    if not len(known):
        return np.full(len(values), np.nan)
    middle = np.median(known)
    spread = max(1.4826 * float(np.median(np.abs(known - middle))), _LEAST_SPREAD)
    return (values - middle) / spread


def as_text(value: object) -> str:
    """Return a value of a field as a finding shows it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
