"""Constraint trees to plans: what each branch searches for, what it must verify, and how it ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from t2c_search.attribution.stored import FactorReader
from t2c_search.filters import Filter
from t2c_search.query.language.concepts import Concept, Phrase, Saved, Sum
from t2c_search.query.language.constraints import Not, Threshold
from t2c_search.query.language.printer import unparse
from t2c_search.query.planning.calibration import DEFAULT_SD, Array, Axis, cosines
from t2c_search.query.planning.directions import Directions
from t2c_search.query.planning.halfspace import Gates
from t2c_search.query.planning.normal_form import Conjunct, Conjunction
from t2c_search.query.planning.ranking import SOFT_THRESHOLD, Ranking, Term
from t2c_search.query.planning.regions import best_regions
from t2c_search.types import CLIP, FloatArray, Points

_FOREMOST = 16  # rows of the sample that show where the best images lie


@dataclass(frozen=True, slots=True)
class Literal:
    """One concept of a branch, wanted or not: its axis and the cosine that tells. A gate excludes what fails."""

    text: str
    axis: int
    wanted: bool
    bound: float
    strict: bool
    gates: bool
    calibrated: bool
    """Whether the collection's statistics say where the bound is; otherwise it is a cosine as typed."""
    interval: tuple[float, float] | None = None
    """Of the bound, 95 %, where it was estimated."""

    @overload
    def holds(self, cosine: float) -> bool: ...

    @overload
    def holds(self, cosine: Array) -> npt.NDArray[np.bool_]: ...

    def holds(self, cosine: float | Array) -> bool | npt.NDArray[np.bool_]:
        """Tell which cosines satisfy it; not wanted is the exact complement of wanted."""
        reached = cosine > self.bound if self.strict else cosine >= self.bound
        return reached == self.wanted

    def excludes(self, unwanted: Literal) -> bool:
        """Tell whether no cosine satisfies both this, which is wanted, and another, which is not."""
        if self.bound == unwanted.bound:
            return self.strict or not unwanted.strict  # the bound itself passes only >= together with not >
        return self.bound > unwanted.bound


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One conjunction, ready to run: its axes, literals, ranking, payload filter and what the sample says of it."""

    literals: tuple[Literal, ...]
    where: Filter | None
    axes: tuple[Axis, ...]
    names: tuple[str, ...]
    ranking: Ranking
    gates: Gates
    correlation: Array
    """Of the axes, (m, m), in the collection."""
    sample: Array
    """z-scores (n, m) of some of the collection's sample."""
    best: Array
    """Scores of those of the sample that pass every gate, descending."""
    peak: Array
    """Mean z-scores (m,) of the first of these: about where the images that count lie."""
    factors: FactorReader | None = None
    """What reads the factors of images, where axes are of regions: then all images that count must be read."""

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors that its cosines are read off."""
        return ((CLIP,) if self.axes else ()) + (self.factors.vectors if self.factors else ())

    def cosines(self, points: Points) -> Array:
        """Return the cosines (n, m) of images with the axes; NaN with those of regions where factors lack."""
        if not self.axes:
            return np.empty((len(points), 0))
        found = cosines(points.vectors[CLIP], self.axes)
        if self.factors is not None:
            at = [place for place, axis in enumerate(self.axes) if axis.regions is not None]
            found[:, at] = best_regions(self.factors, points, np.stack([self.axes[place].direction for place in at]))
        return found

    def scores(self, cosine: Array) -> Array:
        """Score (n, m) cosines with the axes."""
        means, sds = np.array([axis.mean for axis in self.axes]), np.array([axis.sd for axis in self.axes])
        return self.ranking.scores((cosine - means) / sds)

    def passes(self, cosine: Array) -> npt.NDArray[np.bool_]:
        """Tell which rows of (n, m) cosines pass every gate; an image of which one is not known passes none."""
        passed: npt.NDArray[np.bool_] = ~np.logical_or.reduce(np.isnan(cosine), axis=1)
        for literal in self.literals:
            if literal.gates:
                passed &= literal.holds(cosine[:, literal.axis])
        return passed

    @property
    def sifts(self) -> bool:
        """Whether it has a gate on whole images, so that some need not be looked at more closely."""
        return any(literal.gates and self.axes[literal.axis].regions is None for literal in self.literals)

    def may_pass(self, rows: FloatArray) -> npt.NDArray[np.bool_]:
        """Tell which unit vectors (n, d) pass the gates on whole images."""
        cosine, passed = cosines(rows, self.axes), np.ones(len(rows), bool)
        for literal in self.literals:
            if literal.gates and self.axes[literal.axis].regions is None:
                passed &= literal.holds(cosine[:, literal.axis])
        return passed

    @property
    def contradicts_itself(self) -> bool:
        """Whether two gates on one direction leave no cosine that passes both."""
        gates = [literal for literal in self.literals if literal.gates]
        return any(
            least.excludes(most) and self.axes[least.axis].is_same(self.axes[most.axis])
            for least in gates
            if least.wanted
            for most in gates
            if not most.wanted
        )


@dataclass(frozen=True, slots=True)
class Question:
    """An expression in normal form, and the axes of its concepts and joint texts: what needs models is done."""

    conjunctions: tuple[Conjunction, ...]
    axes: Mapping[Concept | tuple[str, ...], Axis]


def embed(conjunctions: Sequence[Conjunction], directions: Directions) -> Question:
    """Make every axis of some branches, once. Raises UsageError for concepts that are not there."""
    joints = dict.fromkeys(joint for each in conjunctions if (joint := _joint_texts(each, directions)))
    wanted = dict.fromkeys(conjunct.concept for each in conjunctions for conjunct in each.conjuncts)
    axes: dict[Concept | tuple[str, ...], Axis] = {concept: directions.axis(concept) for concept in wanted}
    return Question(tuple(conjunctions), axes | {joint: directions.joint(joint) for joint in joints})


def plan(question: Question, directions: Directions, *, mining: bool) -> tuple[Branch, ...]:
    """Plan a question's branches.

    In a search, thresholds exclude and bare concepts only rank; when ``mining``, a bare concept has its default
    threshold. Branches whose thresholds on one concept exclude each other are left out.
    """
    made = (_Compiler(each, directions, question.axes, mining).branch() for each in question.conjunctions)
    return tuple(branch for branch in made if not branch.contradicts_itself)


def _joint_texts(conjunction: Conjunction, directions: Directions) -> tuple[str, ...]:
    """The texts that a branch wants, when there are several: together they make one sentence, which ranks best."""
    if not directions.texts.free_text:
        return ()
    literals = [conjunct.concept for conjunct in conjunction.conjuncts if conjunct.wanted]
    texts = tuple(dict.fromkeys(concept.text for concept in literals if isinstance(concept, Phrase)))
    return texts if len(texts) > 1 else ()


class _Compiler:
    """Makes one branch, each of its axes once, from those ``known``."""

    def __init__(
        self,
        conjunction: Conjunction,
        directions: Directions,
        known: Mapping[Concept | tuple[str, ...], Axis],
        mining: bool,
    ) -> None:
        self._conjunction = conjunction
        self._directions = directions
        self._known = known
        self._mining = mining
        self._axes: dict[Concept | tuple[str, ...], Axis] = {}

    def branch(self) -> Branch:
        conjuncts = self._conjunction.conjuncts
        literals = tuple(self._literal(conjunct) for conjunct in conjuncts)
        unwanted = {self._axis(each.concept): _weight(each.concept) for each in conjuncts if not each.wanted}
        terms = self._wanted_terms()
        terms += [Term(axis, -1.0, weight, -SOFT_THRESHOLD) for axis, weight in unwanted.items()]
        axes = tuple(self._axes.values())
        sample = self._directions.samples(axes)
        ranking, gates = Ranking(tuple(terms)).standardised(sample), _gates(literals, axes)
        return Branch(
            literals,
            self._conjunction.where,
            axes,
            tuple(_name(concept) for concept in self._axes),
            ranking,
            gates,
            _correlation(axes),
            sample,
            *_foremost(sample, gates, ranking),
            self._directions.reservoir.reader if any(axis.regions is not None for axis in axes) else None,
        )

    def _wanted_terms(self) -> list[Term]:
        """What is wanted ranks by its z-score; several things that make no sentence by the log-sigmoids of theirs."""
        joint = _joint_texts(self._conjunction, self._directions)
        ranked = {self._axis(joint): 1.0} if joint else {}
        for conjunct in self._conjunction.conjuncts:
            if conjunct.wanted and not (joint and isinstance(conjunct.concept, Phrase)):
                ranked[self._axis(conjunct.concept)] = _weight(conjunct.concept)
        bend = SOFT_THRESHOLD if len(ranked) > 1 else None
        return [Term(axis, 1.0, weight, bend) for axis, weight in ranked.items()]

    def _literal(self, conjunct: Conjunct) -> Literal:
        constraint, at = conjunct.constraint, self._axis(conjunct.concept)
        text = unparse(constraint if conjunct.wanted else Not(part=constraint))
        axis = list(self._axes.values())[at]
        if isinstance(constraint, Threshold):
            bound, interval = self._bound(constraint, axis)
            calibrated = constraint.unit != "cosine"
            return Literal(text, at, conjunct.wanted, bound, constraint.strict, True, calibrated, interval)
        taught = self._directions.saved(constraint.name).threshold if isinstance(constraint, Saved) else None
        bound = axis.cosine(DEFAULT_SD if taught is None else taught)
        return Literal(text, at, conjunct.wanted, bound, False, self._mining, True)

    def _bound(self, threshold: Threshold, axis: Axis) -> tuple[float, tuple[float, float] | None]:
        """Return the cosine that a threshold names, and its interval if it is an estimate."""
        match threshold.unit:
            case "sd":
                return axis.cosine(threshold.value), None
            case "cosine":
                return threshold.value, None
            case "top":
                share = self._directions.calibration.top(axis, threshold.value)
                return share.value, None if share.low == share.high else (share.low, share.high)

    def _axis(self, concept: Concept | tuple[str, ...]) -> int:
        self._axes.setdefault(concept, self._known[concept])
        return list(self._axes).index(concept)


def _name(concept: Concept | tuple[str, ...]) -> str:
    """How a plan calls an axis; texts that join in a sentence are told from their sum."""
    return unparse(Phrase(text=", ".join(concept))) if isinstance(concept, tuple) else unparse(concept)


def _gates(literals: Sequence[Literal], axes: Sequence[Axis]) -> Gates:
    """Write the literals that exclude as rows and values of z-scores."""
    gates = [literal for literal in literals if literal.gates]
    signs = np.array([1.0 if literal.wanted else -1.0 for literal in gates])
    rows = np.zeros((len(gates), len(axes)))
    rows[np.arange(len(gates)), [literal.axis for literal in gates]] = signs
    at = [(literal.bound - axes[literal.axis].mean) / axes[literal.axis].sd for literal in gates]
    return rows, signs * np.array(at)


def _correlation(axes: Sequence[Axis]) -> Array:
    """Correlation (m, m) of axes; where a collection is so small that rounding shows, the nearest one that may be."""
    found = np.array([[one.covariance @ other.direction / other.sd for other in axes] for one in axes])
    found = found.reshape(len(axes), len(axes))
    np.fill_diagonal(found, 1.0)  # so it is, but for rounding, unless all images are alike
    values, vectors = np.linalg.eigh((found + found.T) / 2)
    sound: Array = (vectors * np.maximum(values, 0)) @ vectors.T
    return sound


def _foremost(sample: Array, gates: Gates, ranking: Ranking) -> tuple[Array, Array]:
    """Scores of the sample's rows that pass the gates, descending, and the mean z-scores of the first of them."""
    rows, values = gates
    passing = sample[(sample @ rows.T >= values).all(axis=1)] if len(values) else sample
    scores = ranking.scores(passing)
    order = np.argsort(-scores)
    first = passing[order[:_FOREMOST]]
    return scores[order], first.mean(axis=0) if len(first) else np.zeros(sample.shape[1])


def _weight(concept: Concept) -> float:
    """A lone weighted concept brings its weight into the conjunction; its sign is in its direction already."""
    return abs(concept.terms[0].weight) if isinstance(concept, Sum) and len(concept.terms) == 1 else 1.0
