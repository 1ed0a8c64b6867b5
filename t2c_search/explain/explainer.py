"""An expression read so that images can be explained by it: literals, maps, words and counterfactuals together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explanation import REST, ExplainedLiteral, Explanation, OtherAlternative, WordShare
from t2c_search.explain.literals import Alternative, alternatives, contributions
from t2c_search.explain.ranks import ranks, vectors_of, without
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.language.concepts import Phrase
from t2c_search.query.language.constraints import Constraint
from t2c_search.query.language.printer import unparse_filter
from t2c_search.query.planning.calibration import Array, Axis
from t2c_search.query.planning.normal_form import Conjunct, branches
from t2c_search.query.planning.planner import Branch
from t2c_search.stores.matching import matches
from t2c_search.types import CLIP, Failure, FloatArray, Points

if TYPE_CHECKING:
    from t2c_search.attribution.factors import Factors, PlaceFactors
    from t2c_search.explain.view import View

AnyFactors = TypeVar("AnyFactors", bound="Factors")

_CHANGED = 0.98  # cosine of a stored vector with the one made anew, below which the image is another one
_CHANGED_NOTE = (
    "the image looks different from what was indexed: index it again, or its maps are those of another picture"
)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """One image's factors (n = 1), and where their grid lies on it: its ``view`` of the upright ``size`` (width, height)."""

    factors: PlaceFactors
    view: View
    size: tuple[int, int]


PlacesOf = Callable[[str, str], Placed]
"""Where factors come from: an image's id and path to what its places give. Kept ones open no file."""
WordsOf = Callable[[str], "tuple[list[str], Array] | None"]
"""A text to its words and what each gives to the text's direction, (words, d); None where words cannot be told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Where the factors of images and texts come from."""

    places: PlacesOf
    words: WordsOf


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where an image stands: its rank, None where it is excluded or nobody asked, and its rank without each literal."""

    rank: int | None = None
    without: Mapping[Conjunct, int] = field(default_factory=dict)


class Explainer:
    """Explains images by one expression; ``counterfactual`` says whether ranks are told, for which all vectors are read."""

    def __init__(self, searcher: Searcher, tree: Constraint, sources: Sources, *, counterfactual: bool = True) -> None:
        """Read an expression. Raises UsageError for one that asks for no meaning."""
        self._searcher, self._sources, self._counterfactual = searcher, sources, counterfactual
        self._conjunctions = branches(tree)
        self._alternatives = alternatives(self._conjunctions, searcher.directions)
        if not any(each.branch.literals for each in self._alternatives):
            raise UsageError("there is nothing to explain: the expression asks for no meaning, only for conditions")

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors that images must come with."""
        return vectors_of(self._alternatives)

    def explain(self, images: Points) -> Iterator[Explanation | Failure]:
        """Explain n images, which come with their ``vectors`` and payloads, in their order; one that cannot be read is a failure.

        Raises UsageError for an encoder whose vectors cannot be taken apart.
        """
        standings = self._standings(images) if self._counterfactual else [_Standing()] * len(images)
        for at, standing in enumerate(standings):
            try:
                yield self._explained(images.take([at]), standing)
            except ImageError as exc:
                yield Failure(str(images.payloads[at].get("path", "")), str(exc))

    def _standings(self, images: Points) -> list[_Standing]:
        """Tell where images stand, with one reading of the collection for all of them."""
        literals = list(dict.fromkeys(literal for each in self._conjunctions for literal in each.conjuncts))
        reduced = [without(self._conjunctions, literal, self._searcher) for literal in literals]
        found = ranks(self._searcher, [self._alternatives, *reduced], images)
        ranked = [
            any(each.branch.literals for each in several) for several in reduced
        ]  # others have no order to stand in
        return [
            _Standing(
                int(own[0]) or None,
                {
                    literal: int(rank)
                    for literal, rank, told in zip(literals, own[1:], ranked, strict=True)
                    if rank and told
                },
            )
            for own in found.T
        ]

    def _explained(self, image: Points, standing: _Standing) -> Explanation:
        from t2c_search.attribution.methods import completes

        (vector,), (payload,) = image.vectors[CLIP], image.payloads
        judged = [_Judged(each, *_score(each.branch, image)) for each in self._alternatives if each.branch.literals]
        best = max(judged, key=lambda each: (each.passed, each.score))
        path = str(payload.get("path", ""))
        placed = self._sources.places(image.ids[0], path)
        factors = with_vector(placed.factors, vector)
        changed = float((placed.factors.vectors.cpu() * factors.vectors).sum()) < _CHANGED
        return Explanation(
            image.ids[0],
            path,
            best.passed,
            standing.rank,
            best.score,
            best.told,
            self._literals(best.alternative, image, factors, standing),
            tuple(
                OtherAlternative(each.told, each.score if each.passed else None) for each in judged if each is not best
            ),
            placed.size,
            placed.view,
            factors.method,
            float(factors.residual.norm()) if completes(factors.method) else None,
            (_CHANGED_NOTE,) if changed else (),
        )

    def _literals(
        self, alternative: Alternative, image: Points, factors: PlaceFactors, standing: _Standing
    ) -> tuple[ExplainedLiteral, ...]:
        branch = alternative.branch
        given = contributions(alternative, image, self._searcher.directions)
        (cosine,) = branch.cosines(image)
        shown = self._maps(branch, factors)
        claims = _claims(branch, shown)
        found = []
        for literal, conjunct, contribution in zip(
            branch.literals, alternative.conjunction.conjuncts, given, strict=True
        ):
            axis, own = branch.axes[literal.axis], float(cosine[literal.axis])
            found.append(
                ExplainedLiteral(
                    literal.text,
                    literal.wanted,
                    bool(literal.holds(own)),
                    own,
                    float(axis.z(np.array(own))),
                    contribution,
                    shown[literal.axis] if literal.wanted else -shown[literal.axis],
                    claims[literal.axis] if literal.wanted else -shown[literal.axis],
                    self._words(conjunct, axis, factors),
                    standing.without.get(conjunct),
                )
            )
        return tuple(found)

    def _maps(self, branch: Branch, factors: PlaceFactors) -> FloatArray:
        """Return the maps of a branch's axes, in their standard deviations, (m, rows, columns).

        Of the best region, a map has each region's z-score over the number of places: what an image of such places alone scores.
        """
        import torch

        from t2c_search.explain.maps import regions

        rows = np.stack([axis.direction for axis in branch.axes])
        told = self._mapped(rows / np.array([[axis.sd] for axis in branch.axes]), factors)
        for at, axis in enumerate(branch.axes):
            if axis.regions is not None:
                seen = axis.z(regions(factors, torch.from_numpy(rows[at : at + 1]))[0, 0].numpy())
                told[at] = (seen / len(seen)).reshape(factors.grid)
        return told

    def _words(self, conjunct: Conjunct, axis: Axis, factors: PlaceFactors) -> tuple[WordShare, ...]:
        """Return what the words of a text, and the rest, give for the hit; nothing for a concept of another kind."""
        concept = conjunct.concept
        parted = self._sources.words(concept.text) if isinstance(concept, Phrase) else None
        if parted is None:
            return ()
        words, rows = parted
        rest = axis.direction - rows.sum(axis=0)
        found = self._mapped(np.vstack([rows, rest]) / (axis.sd if conjunct.wanted else -axis.sd), factors)
        return tuple(
            WordShare(word, float(each.sum(dtype=np.float64)), each)
            for word, each in zip([*words, REST], found, strict=True)
        )

    def _mapped(self, rows: Array, factors: PlaceFactors) -> FloatArray:
        """Return the maps of directions (k, d) about the collection's mean, (k, rows, columns)."""
        import torch

        from t2c_search.explain.maps import maps

        found = maps(factors, torch.from_numpy(rows), torch.from_numpy(self._searcher.calibration.mean))[0]
        mapped: FloatArray = found.reshape(-1, *factors.grid).numpy().astype(np.float32)
        return mapped


def _claims(branch: Branch, shown: FloatArray) -> dict[int, FloatArray]:
    """Return where each wanted axis of a branch has its object, as far as no other one has it there."""
    import torch

    from t2c_search.explain.maps import contested

    wanted = list(dict.fromkeys(literal.axis for literal in branch.literals if literal.wanted))
    found = contested(torch.from_numpy(shown[wanted]).flatten(1)[None])[0] if wanted else torch.empty(0)
    return {axis: claim.view(shown.shape[1:]).numpy() for axis, claim in zip(wanted, found, strict=True)}


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """What an alternative makes of an image."""

    alternative: Alternative
    score: float
    passed: bool

    @property
    def told(self) -> str:
        """The alternative as an expression."""
        branch = self.alternative.branch
        where = [unparse_filter(branch.where)] if branch.where else []
        return " AND ".join([*(literal.text for literal in branch.literals), *where])


def _score(branch: Branch, image: Points) -> tuple[float, bool]:
    """Return a branch's score of an image, and whether the image meets its thresholds and conditions."""
    cosine = branch.cosines(image)
    return float(branch.scores(cosine)[0]), bool(branch.passes(cosine)[0]) and matches(branch.where, image.payloads[0])


def with_vector(factors: PlaceFactors, vector: FloatArray) -> PlaceFactors:
    """Return an image's factors in double precision, about the vector (d,) that is stored: maps sum to what that scores."""
    import torch

    return replace(in_double(factors), vectors=torch.from_numpy(vector)[None].double())


def in_double(factors: AnyFactors) -> AnyFactors:
    """Return the same factors in double precision, on the CPU."""
    return replace(
        factors,
        vectors=factors.vectors.cpu().double(),
        base=factors.base.cpu().double(),
        parts=factors.parts.cpu().double(),
    )
