"""What each literal of an expression gives to an image's score.

A branch's score is a sum of terms, less what they are on average in the collection, over the standard deviation of that sum
(``Ranking``). So a literal's contribution is its term's value less that term's average, over the same standard deviation, and
the contributions of a branch sum to its score. Where several texts share one term, as they are put into one sentence, its value
is dealt out among them by the mean over the orders in which they could have been added (Shapley 1953): over all orders for up
to three texts, and beyond over the cyclic ones, forwards and backwards, which need k (k - 1) + 1 sentences in place of 2^k.

An OR is the maximum of its alternatives: the one that gave the score is explained, and the scores of the others stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from t2c_search.query.language.concepts import Phrase
from t2c_search.query.planning.calibration import Array, cosines
from t2c_search.query.planning.directions import Directions
from t2c_search.query.planning.normal_form import Conjunction
from t2c_search.query.planning.planner import Branch, embed, plan
from t2c_search.query.planning.ranking import Term
from t2c_search.types import CLIP, FloatArray, Points

Value = TypeVar("Value", float, Array)


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """One conjunction of an expression, with the branch that it is searched by; the same literals, in the same order."""

    conjunction: Conjunction
    branch: Branch


def alternatives(conjunctions: Sequence[Conjunction], directions: Directions) -> tuple[Alternative, ...]:
    """Plan each of some conjunctions by itself, as a search does; those that contradict themselves are left out."""
    planned = ((each, plan(embed([each], directions), directions, mining=False)) for each in conjunctions)
    return tuple(Alternative(each, branches[0]) for each, branches in planned if branches)


def contributions(alternative: Alternative, image: Points, directions: Directions) -> list[float]:
    """Return what each literal gives to the score of an image (one point), in standard deviations of the score.

    They sum to ``branch.scores``. A threshold gives what its concept gives; a literal twice the same is given half each time.
    """
    branch = alternative.branch
    (cosine,) = branch.cosines(image)
    given = [0.0] * len(branch.literals)
    for term in branch.ranking.terms:
        own = [
            at
            for at, literal in enumerate(branch.literals)
            if literal.axis == term.axis and literal.wanted == (term.sign > 0)
        ]
        value = _Value(term, branch)
        if own:
            axis = branch.axes[term.axis]
            share = value(float(axis.z(cosine)[term.axis]), branch.sample[:, term.axis]) / len(own)
            shares = dict.fromkeys(own, share)
        else:  # texts in one sentence
            shares = _of_sentence(alternative, value, image.vectors[CLIP], directions)
        for at, share in shares.items():
            given[at] += share
    return given


@dataclass(frozen=True, slots=True)
class _Value:
    """What a term gives to an image's score, by the z-score of an axis and those of the collection's sample."""

    term: Term
    branch: Branch

    def __call__(self, z: float, sample: Array) -> float:
        term, ranking = replace(self.term, axis=0), self.branch.ranking
        centred = not ranking.linear and len(sample) > 1
        usual = float(term.values(sample[:, None]).mean()) if centred else 0.0
        return (float(term.values(np.array([[z]]))[0]) - usual) / ranking.scale


def _of_sentence(
    alternative: Alternative, value: _Value, vector: FloatArray, directions: Directions
) -> dict[int, float]:
    """Deal a sentence's value, for an image's vector (1, d), out among the literals whose texts it is made of."""
    wanted = [
        (at, conjunct.concept.text)
        for at, conjunct in enumerate(alternative.conjunction.conjuncts)
        if conjunct.wanted and isinstance(conjunct.concept, Phrase)
    ]
    texts = list(dict.fromkeys(text for _, text in wanted))

    @cache
    def of(chosen: frozenset[int]) -> float:
        some = tuple(text for at, text in enumerate(texts) if at in chosen)
        if not some:
            return 0.0
        axis = directions.joint(some) if len(some) > 1 else directions.axis(Phrase(text=some[0]))
        sample = directions.samples([axis, *value.branch.axes])[
            :, 0
        ]  # of the images that the branch is standardised by
        return value(float(axis.z(cosines(vector, [axis]))[0, 0]), sample)

    shares = shares_of(of, len(texts))
    times = [sum(text == other for _, other in wanted) for text in texts]
    return {at: shares[texts.index(text)] / times[texts.index(text)] for at, text in wanted}


def cyclic_orders(number: int) -> Iterator[list[int]]:
    """Yield every cyclic order of so many players, forwards and backwards: for up to three, all orders, equally often."""
    for start in range(number):
        for step in (1, -1):
            yield [(start + step * place) % number for place in range(number)]


def shares_of(value: Callable[[frozenset[int]], Value], number: int) -> list[Value]:
    """Deal ``value(all)`` out among so many players, by what each adds on average over the cyclic orders.

    The shares, numbers or arrays as the values are, sum to value(all) - value(none). For up to three players they are
    Shapley values.
    """
    shares: list[Any] = [0.0] * number
    for order in cyclic_orders(number):
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            shares[player] = shares[player] + (value(before | {player}) - value(before)) / (2 * number)
    return shares
