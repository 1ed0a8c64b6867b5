"""What a collection's images and a text have in common, in descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.collection.explaining.hits import fetch_named, named_by
from t2c_search.collection.explaining.sources import Seeing, image_side, open_image
from t2c_search.collection.search_index import is_scanned
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.vocabulary import DESCRIPTORS, Vocabulary
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.mutual.knowledge import Knowledge
from t2c_search.explain.mutual.looking import BATCH, Looked, look
from t2c_search.explain.mutual.sides import Descriptors, knowledge_of
from t2c_search.explain.view import view_of
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression, Wanted
from t2c_search.query.language.bounds import check_texts
from t2c_search.query.language.concepts import Phrase
from t2c_search.query.planning.texts import Texts
from t2c_search.sources.arguments import check_counts
from t2c_search.types import Failure

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner

Look = Callable[[Sequence[str]], list[Looked]]
"""Looks at images by their paths."""
Given = str | Path | Sequence[str] | Vocabulary | None
MOST = 30
"""Images that are looked at, of a text or of each class, unless it is said how many."""


class Knowing:
    """What a collection's images and a text have in common, in descriptors."""

    _snapshots: Snapshots

    def knowledge(
        self,
        text: str,
        *,
        query: Expression | None = None,
        where: str | Filter | None = None,
        ids: str | Iterable[str] = (),
        paths: str | Path | Iterable[str | Path] = (),
        most: int = MOST,
        descriptors: Given = None,
        side: int | None = None,
    ) -> Knowledge:
        """Say what images and a text have in common, in descriptors such as "pointed ears" (mutual knowledge).

        The images are those of ``ids`` or ``paths``, such as a hit; or ``most`` of those that satisfy ``query`` and ``where``,
        such as those of a class; or else the ``most`` best hits of the text. They are opened. What is in the foreground of each
        is divided into parts that look alike, the same parts for all of them; the backbone's own vectors say what each place
        gives, so that nothing is embedded again; and optimal transport gives each part descriptors of its own, ``side`` for
        all parts together. The text has the ``side`` descriptors nearest to it: 50, or a fifth of a short list.

        ``descriptors`` are a vocabulary as elsewhere: left out, what suits the model, or ``descriptors``, a list of parts and
        attributes without the things that have them. One that is the text itself is left out. Sammani and Deligiannis (NeurIPS
        2024, arXiv 2410.13016); the figures are in ``Sharing``.

        An image that cannot be read is among the ``failures``. Raises UsageError where no image is left, for a backbone that
        sees no pixels, and for descriptors that are too few.
        """
        check_counts(most=most, side=side)
        check_texts([text])
        named = named_by(ids, paths)
        if named and (query is not None or where is not None):
            raise UsageError("say which images: by ids or paths, or by constraints, not both")
        asked = _Asked(text, query, where, named, most)

        def answer(now: Snapshot) -> Knowledge:
            vocabulary = now.vocabulary(descriptors, DESCRIPTORS)
            chosen = described(vocabulary, now.texts, [text], side)
            said = chosen.said(now.texts.vector(text))
            seen, failures = looked_at(asked.images(now), looker(*image_side(now), with_view=True))
            mean = now.searcher().calibration.mean
            return Knowledge(
                text,
                tuple(chosen.names[at] for at in said),
                vocabulary.source,
                len(chosen.names),
                tuple(knowledge_of(seen, said, chosen, mean)),
                failures,
            )

        return self._snapshots.ask(answer)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A text, and the images held against it: by their ids, each with how it was named, by constraints, or its best hits."""

    text: str
    query: Expression | None
    where: str | Filter | None
    named: Mapping[str, str]
    most: int

    def images(self, now: Snapshot) -> list[tuple[str, str]]:
        """Return ids and paths. Raises UsageError where an id is not there, or nothing matches."""
        if self.named:
            points = fetch_named(now, self.named)
            return [(each, str(payload["path"])) for each, payload in zip(points.ids, points.payloads, strict=True)]
        searcher = now.searcher()
        if self.query is None and self.where is None:
            tree = now.asked_and_loaded(Phrase(text=self.text), None)
            hits = searcher.search(tree, Wanted(self.most, exact=is_scanned(searcher.calibration.count)))
            return [(hit.id, hit.path) for hit in hits]
        tree = now.asked_and_loaded(self.query, self.where)
        matching = (
            (point_id, str(payload["path"]))
            for points in searcher.read(tree, payload=("path",))
            for point_id, payload in zip(points.ids, points.payloads, strict=True)
        )
        found_first = list(islice(matching, self.most))  # ids are hashes: the first are as good as drawn by lot
        if not found_first:
            raise UsageError("no image matches: there is nothing to look at")
        return found_first


def described(vocabulary: Vocabulary, texts: Texts, of: Sequence[str], side: int | None) -> Descriptors:
    """Return a vocabulary's descriptors but those that are one of some texts themselves, with their vectors."""
    themselves = {tuple(prompt.casefold() for prompt in texts.prompts(text)) for text in of}
    names = [
        name
        for name in vocabulary.names
        if tuple(prompt.casefold() for prompt in texts.prompts(name)) not in themselves
    ]
    return Descriptors.of(names, texts.rows(names), side)


def looker(encoder: Seeing, aligner: Aligner | None, *, with_view: bool = False) -> Look:
    """Return what looks at images by their paths; it raises ImageError where one cannot be read.

    ``with_view`` it also tells which part of the upright image the model saw, for pictures.
    """
    import torch

    view = cache(partial(view_of, encoder))

    def look_at(paths: Sequence[str]) -> list[Looked]:
        images = [open_image(path, encoder).pixels for path in paths]
        looked = look(encoder, aligner, encoder.normalise(torch.stack([encoder.prepare(image) for image in images])))
        if not with_view:
            return looked
        return [replace(each, view=view(image.size)) for each, image in zip(looked, images, strict=True)]

    return look_at


def looked_at(
    images: Sequence[tuple[str, str]], look: Look
) -> tuple[list[tuple[str, str, Looked]], tuple[Failure, ...]]:
    """Look at images by id and path; those that cannot be read are failures. Raises UsageError where none can be."""
    seen: list[tuple[str, str, Looked]] = []
    failures: list[Failure] = []
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    while batches:
        batch = batches.pop(0)
        try:
            looked = look([path for _, path in batch])
        except ImageError as exc:
            if len(batch) > 1:
                batches[:0] = [[image] for image in batch]
            else:
                failures.append(Failure(batch[0][1], str(exc).removeprefix(f"{batch[0][1]}: ")))
            continue
        seen += [(point_id, path, each) for (point_id, path), each in zip(batch, looked, strict=True)]
    if failures and not seen:
        first = failures[0].redacted()
        raise UsageError(f"none of {len(failures)} images can be read; the first, {first.path}: {first.reason}")
    return seen, tuple(failures)
