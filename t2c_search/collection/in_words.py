"""What a collection's vectors say in words: the part of the facade that reads vectors that are stored already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2c_search.collection.shifting import Terms, Words, shift_within
from t2c_search.collection.snapshot import Snapshots
from t2c_search.concepts.shift import PERMUTATIONS
from t2c_search.query.execution.searcher import Expression

if TYPE_CHECKING:
    from t2c_search.concepts.shift.result import Shift


class InWords:
    """Classes, concepts, differences and sentences read from a collection's vectors; no image is opened for it."""

    _snapshots: Snapshots

    def shift(
        self,
        a: Expression,
        b: Expression | None = None,
        *,
        vocabulary: Words = None,
        by: str | None = None,
        permutations: int = PERMUTATIONS,
        seed: int = 0,
    ) -> Shift:
        """Tell in words how the images that satisfy ``a`` differ from those that satisfy ``b``, or from all others.

        Sides are expressions, as ``mine`` takes them: before and after a date (``taken < 2020``), a model's wrong and right
        images (``derived.right = false``), a text. Images of both sides are left out, and counted. Every word of the
        ``vocabulary`` (a file, a list, ``captions``, ``everyday``; left out, what suits the model) is measured, by the
        cosines of its text with the images: Hedges' g with its 95 % interval, AUROC (exact up to 20,000 images a side, else
        from counts in bins, with the most that it may be wrong by), Welch's t with Benjamini and Hochberg's q, and the
        permutation p of the largest t of all words (max-T: Westfall and Young 1993); one energy test (Szekely and Rizzo
        2013) says whether anything changed at all. ``by`` compares within the values of a field: g weighed by inverse
        variance, ranks by van Elteren, permutations within values.

        Vectors are read once, in memory that does not grow with their number; ``permutations`` of the sides are of at most
        20,000 images a side (2,000 for the energy test), drawn by lot with ``seed``. Published as a t-test on one concept:
        Text-to-concept (Moayeri et al., ICML 2023), section 5; as AUROC of phrases: VisDiff (Dunlap et al., CVPR 2024).

        Raises ExpressionError as ``search`` does; UsageError for fewer than 5 images a side once those in both are left out,
        for a field that is not there or has more than 20 values, and for what is no vocabulary.
        """
        terms = Terms(vocabulary, by, permutations, seed)
        return self._snapshots.ask(lambda now: shift_within(now, a, b, terms))
