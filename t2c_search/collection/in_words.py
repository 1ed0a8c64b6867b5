"""What a collection's vectors say in words: the part of the facade that reads vectors that are stored already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.collection.describing import Asked, Telling, describe, describe_each
from t2c_search.collection.snapshot import Snapshots
from t2c_search.concepts.describe.results import Description, Descriptions
from t2c_search.concepts.describe.sparse import WORDS
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.decoding.given import GivenImage, as_image
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression
from t2c_search.sources.arguments import as_list, check_counts, check_kind

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class InWords:
    """Classes, concepts, differences and sentences read from a collection's vectors; no image is opened for it."""

    _snapshots: Snapshots

    def describe(
        self,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        ids: str | Iterable[str] = (),
        image: GivenImage | None = None,
        concept: str | None = None,
        vectors: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        words: int = WORDS,
        vocabulary: str | Path | Sequence[str] | Vocabulary | None = None,
        decoder: str | Path | None = None,
    ) -> Descriptions:
        """Say in a few weighted words what one thing shows, or each of several.

        The thing is the mean of the images that ``mine`` finds for a ``query`` or filter; each image of some ``ids``; an
        ``image``, read as it is stored where it is one of the collection's; a saved ``concept``; or ``vectors`` (d,) or (n, d),
        points of the backbone's own space, which go through the aligner, or of CLIP space: their width tells. ``directions``
        are what is no point there: class vectors of a linear classifier, differences of means.

        ``words`` of the ``vocabulary`` are told, by sparse non-negative decomposition of the vector without the collection's
        mean (SpLiCE, Bhalla et al., NeurIPS 2024; ``SparseWords`` has the equation). The vocabulary is a file of one concept a
        line, a list, ``captions`` for the words of the collection's own, ``everyday`` for a general list of thousands, or what
        suits the model if left out. Weights are parts of a unit vector; the cosine says how much of it the words make up.

        ``decoder`` is a folder that ``fit_decoder`` filled, whose sentence about the thing is told too, with its cosine back:
        that of the sentence's text vector with the thing's, each less the mean of its kind. The mini CLIP has one of its own.

        Raises UsageError where not one thing is asked for, where no image matches, for vectors of another width and what is
        no vocabulary, and a decoder of another CLIP model's space; EncoderError for one that cannot be read; ImageError for an
        image that cannot be read.
        """
        check_kind("concept", concept, str, "the name of a saved concept")
        check_counts(words=words)
        shown = None if image is None else as_image("image", image)
        asked = Asked(query, where, as_list("ids", ids), shown, concept, vectors, directions)
        return self._snapshots.ask(lambda now: describe(now, asked, Telling(words, vocabulary, decoder)))

    def describe_each(
        self,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        words: int = WORDS,
        vocabulary: str | Path | Sequence[str] | Vocabulary | None = None,
        decoder: str | Path | None = None,
    ) -> Iterator[Description]:
        """Describe each of the images that ``mine`` finds, or all, in ascending order of id, in memory that stays constant.

        Words, vocabulary and decoder as in ``describe``; an iterator. Raises as it does.
        """
        check_counts(words=words)
        return self._snapshots.ask(lambda now: describe_each(now, query, where, Telling(words, vocabulary, decoder)))
