"""What a query says of itself: contributions of constraints to a hit, and the plan that ran with its times."""

from __future__ import annotations

import time
from collections.abc import Sequence

from t2c_search.query.execution.fronts import Front
from t2c_search.query.language.printer import unparse_filter
from t2c_search.query.planning.calibration import Array
from t2c_search.query.planning.planner import Branch, Literal
from t2c_search.results import Contribution, Plan, PlannedBranch, PlannedConstraint

_LEAST_SHARE = 1e-6  # of a direction's square, in place of a variance that is 0 but for rounding: opposites cancel out


class Stopwatch:
    """Seconds by step of a query."""

    def __init__(self) -> None:
        self.started = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def resume(self) -> None:
        """Leave out the time since the last lap: it was not ours."""
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        """Count the time since the last lap for a step."""
        now = time.perf_counter()
        self.laps[step] = self.laps.get(step, 0.0) + now - self._last
        self._last = now

    @property
    def total(self) -> float:
        """Seconds of all steps."""
        return sum(self.laps.values())


def contributions(branch: Branch, cosines: Array) -> tuple[Contribution, ...]:
    """Say what each literal of a branch makes of one image, from its cosines (m,) with the branch's axes."""
    with_axes = cosines.tolist()
    found = []
    for literal in branch.literals:
        cosine, axis = with_axes[literal.axis], branch.axes[literal.axis]
        found.append(Contribution(literal.text, cosine, (cosine - axis.mean) / axis.sd, literal.holds(cosine)))
    return tuple(found)


def describe(fronts: Sequence[Front], seconds: dict[str, float]) -> Plan:
    """Describe what ran."""
    planned = tuple(
        PlannedBranch(
            tuple(_planned(literal, front.branch) for literal in front.branch.literals),
            _ranked_by(front.branch),
            _direction(front),
            unparse_filter(front.branch.where) if front.branch.where else None,
            front.path,
            front.rounds,
            front.candidates,
        )
        for front in fronts
    )
    rounds = max((front.rounds for front in fronts), default=0)
    return Plan(planned, sum(front.candidates for front in fronts), rounds, seconds)


def _planned(literal: Literal, branch: Branch) -> PlannedConstraint:
    if not literal.gates:
        return PlannedConstraint(literal.text)
    axis = branch.axes[literal.axis]
    z = (literal.bound - axis.mean) / axis.sd
    return PlannedConstraint(literal.text, literal.bound, z, literal.interval)


def _direction(front: Front) -> dict[str, float]:
    """The weights of z-scores that a branch was last searched by; none after a scan."""
    if front.half is None:
        return {}
    normal = front.half.normal
    variance = max(float(normal @ front.branch.correlation @ normal), _LEAST_SHARE * float(normal @ normal))
    weights = normal / variance**0.5 if variance else normal
    return {name: float(weight) for name, weight in zip(front.branch.names, weights, strict=True) if weight}


def _ranked_by(branch: Branch) -> tuple[str, ...]:
    """The terms of a branch's score, as formulas of z-scores."""
    terms = []
    for term in branch.ranking.terms:
        signed = f"{'-' if term.sign < 0 else ''}z({branch.names[term.axis]})"
        formula = signed if term.bend is None else f"log sigmoid({signed} {-term.bend:+g})"
        terms.append(formula if term.weight == 1 else f"{term.weight:g} * {formula}")
    return tuple(terms)
