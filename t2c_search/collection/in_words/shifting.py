"""Two sides of images, of one collection or of two, brought together to be compared in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.shift import PERMUTATIONS, Asked, Chosen, diagnose
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.query.execution.searcher import Expression
from t2c_search.query.language.printer import unparse
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.sources.arguments import check_kind
from t2c_search.state.aligner import ALIGNER, read_aligner

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.collection.in_words import InWords
    from t2c_search.concepts.shift.result import Shift
    from t2c_search.types import FloatArray


class Shifting:
    """Two sides of images, of one collection or of two, brought together to be compared in words."""

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


MOST_PERMUTATIONS = 100_000
_LEAST_PERMUTATIONS = 19  # fewer never reach p = 0.05

Words = str | Path | Sequence[str] | Vocabulary | None


@dataclass(frozen=True, slots=True)
class Terms:
    """In what two sides are compared: a vocabulary, a field to compare within, permutations and their seed.

    Raises UsageError for what cannot be one of them.
    """

    vocabulary: Words = None
    by: str | None = None
    permutations: int = PERMUTATIONS
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind("by", self.by, str, "the name of a payload field")
        for name, value in (("permutations", self.permutations), ("seed", self.seed)):
            check_kind(name, value, Integral, "a whole number")
        if not _LEAST_PERMUTATIONS <= self.permutations <= MOST_PERMUTATIONS:
            raise UsageError(
                f"permutations is {self.permutations}: expected {_LEAST_PERMUTATIONS}, by which p can reach 0.05, "
                f"to {MOST_PERMUTATIONS}"
            )


def shift_between(
    first: InWords,
    second: InWords,
    a: Expression | None = None,
    b: Expression | None = None,
    *,
    vocabulary: Words = None,
    by: str | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Shift:
    """Tell in words how images of one collection differ from those of another one: all, or those that satisfy ``a`` and ``b``.

    Both are read in the words, about a centre and by the standard deviations that both have together. What is returned, and
    the other arguments, are those of ``Collection.shift``; a field ``by`` must be one of both.

    Differences must be those of the images and not of models: raises UsageError unless both were made by the same CLIP
    model and the same backbone, with the same aligner. Where only the aligners differ, those of the first collection
    serve for both if the second one keeps native vectors.
    """
    terms = Terms(vocabulary, by, permutations, seed)

    def compare(now: Snapshot, other: Snapshot) -> Shift:
        sides = (
            _chosen(now, a, f"{now.store.collection}: "),
            _chosen(other, b, f"{other.store.collection}: ", _projection(now, other)),
        )
        return _compared(now, other, sides, terms)

    return first._snapshots.ask(lambda now: second._snapshots.ask(partial(compare, now)))


def shift_within(now: Snapshot, a: Expression, b: Expression | None, terms: Terms) -> Shift:
    """Compare two sides of one collection; without ``b``, those of A with all others."""
    if b is None:
        others = Chosen(now.searcher(), None, "all others", others=True)
        return _compared(now, now, (_chosen(now, a), others), terms)
    return _compared(now, now, (_chosen(now, a), _chosen(now, b)), terms)


def _compared(now: Snapshot, other: Snapshot, sides: tuple[Chosen, Chosen], terms: Terms) -> Shift:
    for each in (now, other):
        if terms.by is not None and not is_known(terms.by, each.fields):
            raise UsageError(unknown_field(terms.by, each.fields))
    words = now.vocabulary(terms.vocabulary).names
    return diagnose(*sides, Asked(words, terms.by, terms.permutations, terms.seed))


def _chosen(now: Snapshot, query: Expression | None, name: str = "", aligner: Aligner | None = None) -> Chosen:
    tree = now.chosen(query, None)
    if tree is not None:
        name += query if isinstance(query, str) else unparse(tree)
    elif name.endswith(": "):
        name += "all images"
    return Chosen(now.searcher(), tree, name, None if aligner is None else partial(_align, aligner))


def _align(aligner: Aligner, rows: FloatArray) -> FloatArray:
    import torch

    aligned: FloatArray = aligner(torch.from_numpy(rows)).numpy()
    return aligned


def _projection(now: Snapshot, other: Snapshot) -> Aligner | None:
    """Return what maps the other collection's native vectors into the first one's space; None where both are in one.

    Raises UsageError where nothing does.
    """
    one, two = now.card, other.card
    if differing := one.clip.difference(two.clip):
        raise UsageError(
            f"the collections are in different spaces: CLIP models {one.clip.id!r} and {two.clip.id!r}, with other "
            f"{differing}; index one of them again with the other's --clip"
        )
    if one.aligned is two.aligned is False:
        return None
    if differing := one.backbone.difference(two.backbone):
        raise UsageError(
            f"the collections were made by different backbones, {one.backbone.id!r} and {two.backbone.id!r}, with other "
            f"{differing}: what differs would be the models as much as the images; index one again with the other's --backbone"
        )
    content, own = now.store.read_blob(ALIGNER), other.store.read_blob(ALIGNER)
    if content == own:
        return None
    if not two.native:
        raise UsageError(
            "the collections were aligned differently, each by its own images: what differs would be the aligners as much as "
            "the images; index the second one with the first one's aligner (--aligner) or with --keep-native"
        )
    return read_aligner(now.store)
