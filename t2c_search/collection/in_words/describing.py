"""What of a collection is described in words: images, those of an expression, saved concepts, and vectors from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from t2c_search.collection.in_words.decoders import sentences
from t2c_search.collection.removing import present
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.describe.results import Description, Descriptions
from t2c_search.concepts.describe.sparse import WORDS, unit
from t2c_search.concepts.describe.subjects import Words, directions, pictures
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.decoding.given import GivenImage, as_image
from t2c_search.errors import UsageError
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression
from t2c_search.query.language.printer import unparse
from t2c_search.sources.addresses import is_remote
from t2c_search.sources.arguments import as_list, check_counts, check_kind
from t2c_search.sources.inputs import ImageInput
from t2c_search.state.aligner import read_aligner
from t2c_search.types import CLIP

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Describing:
    """What of a collection is described in words: images, those of an expression, saved concepts, and vectors from elsewhere."""

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


Array = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What to describe: one of these. Raises UsageError for none or several."""

    query: Expression | None = None
    where: str | Filter | None = None
    ids: Sequence[str] = ()
    image: GivenImage | None = None
    concept: str | None = None
    vectors: Any = None
    directions: Any = None

    def __post_init__(self) -> None:
        others = (self.image, self.concept, self.vectors, self.directions)
        given = [
            self.query is not None or self.where is not None,
            bool(self.ids),
            *(each is not None for each in others),
        ]
        if sum(given) != 1:
            raise UsageError(
                "say what to describe, and one thing at a time: a query or filter, ids, an image, a saved concept, vectors, "
                "or directions"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Telling:
    """How to describe: how many words, of which vocabulary, and the folder of the decoder that says sentences, if any."""

    words: int
    vocabulary: str | Path | Sequence[str] | Vocabulary | None = None
    decoder: str | Path | None = None

    def of(self, now: Snapshot) -> Words:
        """Make what describes a collection's vectors."""
        return Words(now.vocabulary(self.vocabulary), now.searcher().texts, self.words, sentences(now, self.decoder))


def describe(now: Snapshot, asked: Asked, telling: Telling) -> Descriptions:
    """Describe what is asked for."""
    words = telling.of(now)
    mean = now.searcher().calibration.mean
    if asked.concept is not None:
        saved = now.searcher().directions.saved(asked.concept.removeprefix("@"))
        subjects = directions([f"@{saved.name}"], saved.direction[None], mean, words.rows)
    elif asked.directions is not None:
        rows = _into_clip(now, _rows("directions", asked.directions), points=False)
        subjects = directions(_numbered("direction", rows), rows, mean, words.rows)
    elif asked.vectors is not None:
        rows = _into_clip(now, _rows("vectors", asked.vectors), points=True)
        subjects = pictures(_numbered("vector", rows), rows, mean)
    else:
        subjects = pictures(*_images(now, asked), mean)
    return Descriptions(tuple(words(subjects)), words.vocabulary.source, len(words.vocabulary))


def describe_each(
    now: Snapshot, query: Expression | None, where: str | Filter | None, telling: Telling
) -> Iterator[Description]:
    """Describe the images that match, or all of them, one by one, in constant memory."""
    words, searcher = telling.of(now), now.searcher()
    for points in searcher.read(now.chosen(query, where), payload=("path",)):
        paths = [str(payload.get("path", "")) for payload in points.payloads]
        yield from words(pictures(paths, points.vectors[CLIP], searcher.calibration.mean))


def _images(now: Snapshot, asked: Asked) -> tuple[list[str], Array]:
    """Return the names and rows of images: of some ids, a given one, or the mean of all that match."""
    if asked.ids:
        known = present(now.store, asked.ids)
        if missing := [each for each in asked.ids if each not in known]:
            raise UsageError(f"the collection has no image of the id {missing[0]!r}")
        points = now.store.fetch(known, vectors=(CLIP,))
        return [str(payload.get("path", "")) for payload in points.payloads], points.vectors[CLIP]
    if asked.image is not None:
        return _image(now, asked.image)
    tree = now.asked_and_loaded(asked.query, asked.where)
    total, count = np.zeros(now.card.clip.dim), 0
    for points in now.searcher().read(tree):
        total += points.vectors[CLIP].sum(axis=0, dtype=np.float64)
        count += len(points)
    if not count:
        raise UsageError("no image matches: there is nothing to describe")
    name = asked.query if isinstance(asked.query, str) and asked.where is None else unparse(tree)
    return [f"{name} ({count} image{'s' if count > 1 else ''})"], total[None] / count


def _image(now: Snapshot, image: GivenImage) -> tuple[list[str], Array]:
    """Return an image's name and row: as it is stored where its path is an image of the collection's, else embedded."""
    if not isinstance(image, str | Path):
        return ["the image"], now.embed_image(image)[None]
    path = str(image)
    if not is_remote(path):
        path = Path(path).absolute().as_posix()
    rows = now.store.fetch([ImageInput(path, 0, 0).id], vectors=(CLIP,), payload=False).vectors[CLIP]
    return [str(image)], rows if len(rows) else now.embed_image(image)[None]


def _rows(name: str, given: Any) -> Array:
    """Return vectors as rows (n, d). Raises UsageError for what is none, or not finite, or of length 0."""
    try:
        rows = np.atleast_2d(np.asarray(given, np.float64))
    except (TypeError, ValueError) as exc:
        raise UsageError(f"{name} are no array of numbers (n, d): {exc}") from exc
    if rows.ndim != 2 or not rows.size:
        raise UsageError(f"{name} are an array of shape {rows.shape}: expected rows (n, d), or one vector (d,)")
    if not np.isfinite(rows).all() or not rows.any(axis=1).all():
        raise UsageError(f"{name} have rows that are zero or not finite, which have no direction")
    return rows


def _into_clip(now: Snapshot, rows: Array, *, points: bool) -> Array:
    """Return rows of the backbone's own space, told by their width, or of CLIP space, as unit rows (n, d_clip).

    Points go through the aligner; directions, such as a linear classifier's class vectors, through its linear part alone:
    its bias, and where features lie, have no part in them (``benchmarks.concepts.words`` has the figures).
    """
    card = now.card
    if card.aligned and rows.shape[1] == card.backbone.dim:
        import torch

        aligner = read_aligner(now.store)
        if points:
            return aligner(torch.from_numpy(rows)).numpy()
        return unit(rows @ aligner.weight.numpy().astype(np.float64))
    if rows.shape[1] != card.clip.dim:
        own = f"{card.backbone.dim} (of {card.backbone.id!r}) or " if card.aligned else ""
        raise UsageError(
            f"the vectors have {rows.shape[1]} numbers each: expected {own}{card.clip.dim} (of {card.clip.id!r})"
        )
    return unit(rows)


def _numbered(name: str, rows: Array) -> list[str]:
    return [name] if len(rows) == 1 else [f"{name} {number}" for number in range(len(rows))]
