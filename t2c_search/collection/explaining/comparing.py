"""Which encoders share most with a text side, over a collection's images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.collection.explaining.knowing import MOST, Given, described, looker
from t2c_search.collection.explaining.sources import Seeing, seeing
from t2c_search.collection.fitting import fit_on_images
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.vocabulary import DESCRIPTORS, Vocabulary
from t2c_search.concepts.zero_shot.classes import GivenClasses, NamedClass, class_rows, read_classes
from t2c_search.concepts.zero_shot.labels import Labels
from t2c_search.decoding.decode import decode
from t2c_search.encoders.protocols import TextEncoder
from t2c_search.errors import AlignmentError, ImageError, UsageError
from t2c_search.explain.mutual.comparing import Candidate, Comparison, LabelledImage, ranked, values_of
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pairs import PairModels
from t2c_search.progress import Monitor, NoProgress, Progress
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.query.planning.texts import Texts
from t2c_search.settings import load_settings
from t2c_search.sources import ImageInput, read_image
from t2c_search.sources.arguments import as_list, check_counts
from t2c_search.state.aligner import read_aligner
from t2c_search.types import CLIP, Failure

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner

_GLANCE = 32  # pixels to decode an image to, where all that is asked is whether it can be


class Comparing:
    """Which encoders share most with a text side."""

    _snapshots: Snapshots

    def compare_models(
        self,
        models: str | Iterable[str],
        classes: GivenClasses,
        *,
        field: str | None = None,
        most: int = MOST,
        descriptors: Given = None,
        side: int | None = None,
        fit_pairs: int | None = None,
        progress: Progress | None = None,
    ) -> Comparison:
        """Say which of some encoders share most with a text side: mutual knowledge, over the collection's images.

        Of each class, at most ``most`` images are looked at, those whose ``field`` says so (its accuracy then stands beside),
        or, without a field, those that the collection's own vectors give the class. Of each, ``knowledge`` is taken with the
        class's words, by every model: the mean over the images, with intervals by the bootstrap over them, and how far each
        model is behind the first.

        A model that understands texts is held against its own text side. Any other is aligned onto the collection's CLIP
        model first, on ``fit_pairs`` of the collection's other images, and held against that one's; the collection's own
        backbone goes through the collection's aligner.

        Images are opened. Raises UsageError for models that see no pixels, and for a field that names no class; AlignmentError
        where too few images are left to fit an aligner on.
        """
        ids = as_list("models", models)
        if not ids or len(set(ids)) < len(ids):
            raise UsageError("name the models to compare, each once")
        check_counts(most=most, side=side, fit_pairs=fit_pairs)
        asked = _Asked(tuple(ids), read_classes(classes), field, most, fit_pairs or load_settings().fit_pairs)
        monitor = Monitor(progress or NoProgress())

        def answer(now: Snapshot) -> Comparison:
            return _Comparing(now, asked, now.vocabulary(descriptors, DESCRIPTORS), side, monitor)()

        return self._snapshots.ask(answer)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which models to compare, on at most so many images of each class, and on how many others to fit aligners."""

    models: tuple[str, ...]
    classes: tuple[NamedClass, ...]
    field: str | None
    most: int
    fit_pairs: int


@dataclass(frozen=True, slots=True, eq=False)
class _Comparing:
    """A comparison over a collection, as it is at one moment."""

    now: Snapshot
    asked: _Asked
    vocabulary: Vocabulary
    side: int | None
    monitor: Monitor

    def __call__(self) -> Comparison:
        """Compare the models one after the other; all are loaded before the first image is opened."""
        field = self.asked.field
        if field is not None and not is_known(field, self.now.fields):
            raise UsageError(unknown_field(field, self.now.fields))
        encoders = [self._load(model) for model in self.asked.models]
        labelled, failures = _readable(self._labelled())
        if not labelled:
            raise UsageError("no image of these classes can be read: there is nothing to compare models on")
        looked_at = {image.id for image in labelled}
        candidates = [
            self._candidate(model, encoder, looked_at)
            for model, encoder in zip(self.asked.models, encoders, strict=True)
        ]
        values = {}
        for each in candidates:
            self.monitor.progress.start(len(labelled), f"looking with {each.model}")
            values[each.model] = values_of(each, labelled, self.monitor.progress.advance)
        models = ranked(values, with_accuracy=field is not None)
        lists = candidates[0].descriptors
        names = tuple(each.name for each in self.asked.classes)
        return Comparison(names, self.vocabulary.source, len(lists.names), lists.side, len(labelled), models, failures)

    def _load(self, model: str) -> Seeing:
        card, models = self.now.card, self.now.models
        encoder = {card.backbone.id: lambda: models.backbone, card.clip.id: lambda: models.clip}.get(model)
        found = models.choice.load_backbone(model) if encoder is None else encoder()
        return seeing(found)  # a mistake is told before images are opened

    def _labelled(self) -> Iterator[LabelledImage]:
        """Yield up to so many images of each class, in ascending order of id: as good as drawn by lot."""
        searcher, classes = self.now.searcher(), self.asked.classes
        labels = None if self.asked.field is None else Labels(self.asked.field, classes)
        rows = class_rows(self.now.texts, classes, None)
        left = np.full(len(classes), self.asked.most)
        for points in searcher.read(payload=("path", *([] if labels is None else [labels.field]))):
            if labels is None:
                own = ((points.vectors[CLIP] - searcher.calibration.mean) @ rows.T).argmax(1)
            else:
                own = labels.read(points.payloads)
            for point_id, payload, label in zip(points.ids, points.payloads, own.tolist(), strict=True):
                if label >= 0 and left[label]:
                    left[label] -= 1
                    yield LabelledImage(point_id, str(payload["path"]), label)
            if not left.any():
                return
        if labels is not None:
            labels.check(1)

    def _candidate(self, model: str, encoder: Seeing, looked_at: set[str]) -> Candidate:
        """Return a model with its text side: its own where it has one, else that of the collection, onto which it is aligned."""
        texts, aligner = self.now.texts, None
        if isinstance(encoder, TextEncoder) and encoder is not self.now.models.clip:
            own: TextEncoder = encoder
            texts = Texts(lambda batch: own.encode_texts(batch).cpu().numpy(), own.vocabulary is None)
        elif encoder is not self.now.models.clip:
            aligner = self._aligner(encoder, looked_at).to(encoder.device)
        descriptors = described(self.vocabulary, texts, [each.name for each in self.asked.classes], self.side)
        rows = class_rows(texts, self.asked.classes, None)
        return Candidate(model, looker(encoder, aligner), descriptors, rows)

    def _aligner(self, encoder: Seeing, looked_at: set[str]) -> Aligner:
        """Return the collection's aligner for its own backbone, and one fitted on other images for any other model."""
        if encoder is self.now.models.backbone:
            return read_aligner(self.now.store)
        others = (
            ImageInput(str(payload["path"]), 0, 0)
            for points in self.now.searcher().read(payload=("path",))
            for point_id, payload in zip(points.ids, points.payloads, strict=True)
            if point_id not in looked_at
        )
        sample, clip = list(islice(others, self.asked.fit_pairs)), self.now.models.clip
        try:
            fitted = fit_on_images(
                sample,
                PairModels(encoder, clip, lambda: (encoder, clip)),
                LocalEmbedder(Batching.chosen(None, None)),
                monitor=self.monitor,
            )
            if fitted.aligner is not None:
                return fitted.aligner
            reason = "none of them can be read"
        except AlignmentError as exc:
            reason = str(exc)
        raise AlignmentError(
            f"{encoder.id!r} must be aligned onto {clip.id!r} on images that are not looked at, and the collection has "
            f"{len(sample)} of them ({reason}): look at fewer of each class, or index more"
        )


def _readable(images: Iterable[LabelledImage]) -> tuple[list[LabelledImage], tuple[Failure, ...]]:
    """Return the images that can be opened, so that all models look at the same ones, and those that cannot."""
    found, failures = [], []
    for image in images:
        try:
            decode(read_image(image.path), _GLANCE)
        except ImageError as exc:
            failures.append(Failure(image.path, str(exc)))
        else:
            found.append(image)
    return found, tuple(failures)
