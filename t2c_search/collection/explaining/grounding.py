"""What a collection's model knows of some words: cases chosen from its images, and their maps."""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from t2c_search.collection.explaining.sources import Seeing, image_side, open_image, seeing
from t2c_search.collection.models import trusted
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.vocabulary import Vocabulary, captions_of
from t2c_search.decoding.metadata import CAPTIONS
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explainer import in_double
from t2c_search.explain.grounding import (
    FINE,
    Contradiction,
    GroundedWord,
    Grounding,
    Inside,
    collage,
    inside_boxes,
    interval,
    pointing_scores,
)
from t2c_search.explain.view import view_of
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.sources.arguments import check_counts
from t2c_search.stores.matching import values_at
from t2c_search.types import CLIP, Payload

if TYPE_CHECKING:
    from PIL import Image

    from t2c_search.alignment.aligner import Aligner

Floats = npt.NDArray[np.float64]

_LEAST = 5  # cases of a word, below which nothing is said of it
_TOLD = 10  # contradictions of a word
_MEAN_OF = 256  # images whose mean is a second model's centre


class GroundingWords:
    """What a collection's model knows of some words."""

    _snapshots: Snapshots

    def grounding(
        self,
        words: str | Path | Sequence[str] | Vocabulary,
        *,
        boxes: str | None = None,
        against: str | Path | None = None,
        images: int = 40,
        method: str = "auto",
    ) -> Grounding:
        """Tell of each word how well the model's maps point at what it names, and which captions the pictures contradict.

        ``words`` are a list, "a, b, c", or a file of one a line. Up to ``images`` pictures of each are made: of an image whose
        caption has the word, and three whose captions have not, laid two by two, where the map should lie on the one (the
        grid pointing game). Where a field holds ``boxes``, objects with a ``label`` and a ``box`` (left, top, right, bottom) in
        pixels, each image by itself is such a picture. Words of fewer than 5 are noted, and left out.

        ``against`` compares with another model on the same pictures: an aligner's file, made by ``fit`` for the collection's CLIP
        model, of the same or another backbone; or "clip" for the CLIP model itself.

        The images are opened. Raises UsageError for a collection without captions, a field that is not there, a backbone that
        sees no images, and an aligner for another CLIP model.
        """
        check_counts(images=images)

        def answer(now: Snapshot) -> Grounding:
            if boxes is not None and not is_known(boxes, now.fields):
                raise UsageError(unknown_field(boxes, now.fields))
            own = _own(now, method)
            models = [own] if against is None else [own, _other(now, against, method)]
            return _ground(now, models, _Truth(now.vocabulary(words).names, boxes, images))

        return self._snapshots.ask(answer)


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """What is asked for maps: an encoder, its aligner if any, and the mean of its vectors."""

    name: str
    encoder: Seeing
    aligner: Aligner | None
    method: str
    centre: Floats


@dataclass(frozen=True, slots=True)
class _Case:
    """A picture's images by their paths, and where in it the word's thing is: a quadrant, or boxes in pixels."""

    paths: tuple[str, ...]
    quadrant: int = 0
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    size: tuple[int, int] = (1, 1)


@dataclass(slots=True)
class _Word:
    """What the collection says of a word."""

    having: list[_Case] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    claimed: int = 0
    contradicted: int = 0
    worst: list[tuple[float, str, Contradiction]] = field(default_factory=list)

    def cases(self) -> list[_Case]:
        """Return the pictures to make; of captions, as many as there are three others for, in turn in each quadrant."""
        if self.having and self.having[0].boxes:
            return self.having
        whole = []
        for at, case in enumerate(self.having[: len(self.lacking) // 3]):
            others, place = self.lacking[3 * at : 3 * at + 3], at % 4
            whole.append(replace(case, paths=(*others[:place], *case.paths, *others[place:]), quadrant=place))
        return whole


@dataclass(frozen=True, slots=True)
class _Truth:
    """Where it is read what images show: in captions, or in the boxes of a field; up to ``images`` are kept of each word."""

    words: tuple[str, ...]
    boxes: str | None
    images: int

    def read(self, now: Snapshot) -> dict[str, _Word]:
        """Read the collection once, in batches; ids are hashes, so that the first images are a random sample."""
        searcher = now.searcher()
        rows = searcher.texts.rows(self.words)
        axes = [searcher.calibration.axis(row.astype(np.float64)) for row in rows]
        said = {word: re.compile(rf"\b{re.escape(word)}(?:e?s)?\b", re.IGNORECASE) for word in self.words}
        found = {word: _Word() for word in self.words}
        wanted = (CAPTIONS, "path", "width", "height", *([self.boxes.partition(".")[0]] if self.boxes else []))
        for points in searcher.read(payload=wanted):
            z = np.stack([axis.z(points.vectors[CLIP].astype(np.float64) @ axis.direction) for axis in axes], axis=1)
            for row, (point_id, payload) in enumerate(zip(points.ids, points.payloads, strict=True)):
                captions, boxes = captions_of(payload), self._boxes(payload)
                for word, score in zip(self.words, z[row], strict=True):
                    claims = [each for each in captions if said[word].search(each)]
                    own = tuple(box for label, box in boxes if said[word].fullmatch(label))
                    self._take(found[word], payload, bool(claims), bool(captions), own)
                    if claims:
                        _judge(found[word], Contradiction(word, point_id, payload["path"], claims[0], float(score)))
        return found

    def _take(self, word: _Word, payload: Payload, claimed: bool, captioned: bool, boxes: tuple[Any, ...]) -> None:
        has = bool(boxes) if self.boxes else claimed
        if has and len(word.having) < self.images:
            size = (int(payload.get("width", 1)), int(payload.get("height", 1)))
            word.having.append(_Case((payload["path"],), boxes=boxes, size=size))
        elif not has and captioned and not self.boxes and len(word.lacking) < 3 * self.images:
            word.lacking.append(payload["path"])

    def _boxes(self, payload: Payload) -> list[tuple[str, tuple[float, float, float, float]]]:
        """Return the labelled boxes of an image. Raises UsageError for what is none."""
        if self.boxes is None:
            return []
        told = [
            each for value in values_at(payload, self.boxes) for each in (value if isinstance(value, list) else [value])
        ]
        try:
            found = [(str(each["label"]), tuple(map(float, each["box"]))) for each in told]
        except (TypeError, KeyError, ValueError):
            found = [("", ())]
        if any(len(box) != 4 for _, box in found):
            raise UsageError(
                f"the field {self.boxes!r} of {payload.get('path')} holds no boxes: expected objects with a label and a box of "
                "left, top, right and bottom in pixels"
            )
        return found  # type: ignore[return-value]


def _judge(word: _Word, claim: Contradiction) -> None:
    """Count a caption's claim, and keep the worst of those that their pictures contradict."""
    word.claimed += 1
    if claim.z < 0:
        word.contradicted += 1
        entry = (-claim.z, claim.id, claim)
        if len(word.worst) < _TOLD:
            heapq.heappush(word.worst, entry)
        else:
            heapq.heappushpop(word.worst, entry)


def _ground(now: Snapshot, models: Sequence[_Model], truth: _Truth) -> Grounding:
    known = truth.read(now)
    if not any(word.having for word in known.values()):
        of = f"boxes of {truth.boxes!r}" if truth.boxes else "captions"
        raise UsageError(f"no image's {of} have any of these words: index with --captions, or give other words")
    cases = {word: cases for word, each in known.items() if len(cases := each.cases()) >= _LEAST}
    notes = [
        f"{word!r} is left out: {len(each.cases())} pictures can be made of it, of {_LEAST} that are needed"
        for word, each in known.items()
        if word not in cases
    ]
    scores = [_scores(now, model, cases) for model in models]
    told = [_told(word, known[word], [each[word] for each in scores]) for word in cases]
    told.sort(key=lambda each: -(each.score if each.gain is None else each.gain))
    worst = sorted((claim for each in known.values() for _, _, claim in each.worst), key=lambda claim: claim.z)
    names = [model.name for model in models]
    return Grounding(names[0], names[1] if len(names) > 1 else None, tuple(told), tuple(worst), tuple(notes))


def _told(word: str, known: _Word, scores: Sequence[Floats]) -> GroundedWord:
    """Say what the scores (n, 2) of one or two models on a word's pictures come to."""
    (own, chance), *others = (each.T for each in scores)
    told = GroundedWord(word, len(own), *interval(own), float(chance.mean()), known.claimed, known.contradicted)
    if not others:
        return told
    gain, low, high = interval(others[0][0] - own)
    return replace(told, other=float(others[0][0].mean()), gain=gain, gain_low=low, gain_high=high)


def _own(now: Snapshot, method: str) -> _Model:
    encoder, project = image_side(now, method)
    centre = now.searcher().calibration.mean
    name = now.card.backbone.id + (f" aligned to {now.card.clip.id}" if now.card.aligned else "")
    return _Model(name, encoder, project, method, centre)


def _other(now: Snapshot, against: str | Path, method: str) -> _Model:
    """Return the model to compare with. Raises UsageError and AlignmentError for what is none."""
    if against == "clip":
        encoder, aligner = now.models.clip, None
        name = encoder.id
    else:
        from t2c_search.alignment.aligner import Aligner

        aligner = Aligner.load(against)
        encoder = now.models.choice.load_backbone(trusted(aligner.backbone.id, "--backbone"))
        aligner.check(encoder_ref(encoder), now.card.clip)
        aligner = aligner.to(encoder.device)
        name = f"{encoder.id} by {Path(against).name}"
    backbone = seeing(encoder, method)
    return _Model(name, backbone, aligner, method, _mean(now, backbone, aligner))


def _mean(now: Snapshot, encoder: Seeing, aligner: Aligner | None) -> Floats:
    """Return the mean of what a model makes of the collection's first images that can be read."""
    import torch
    from torch.nn.functional import normalize

    points = next(iter(now.store.scan(payload=("path",), batch_size=_MEAN_OF)))
    rows = []
    for payload in points.payloads:
        with suppress(ImageError):
            tensor = encoder.prepare(open_image(payload["path"], encoder).pixels)
            rows.append(encoder.encode_images(tensor.unsqueeze(0)))
    if not rows:
        raise UsageError("none of the collection's images can be read any more: nothing can be compared")
    project = normalize if aligner is None else aligner
    mean: Floats = project(torch.cat(rows)).mean(0).cpu().numpy().astype(np.float64)
    return mean


def _scores(now: Snapshot, model: _Model, cases: Mapping[str, Sequence[_Case]]) -> dict[str, Floats]:
    """Return a model's pointing scores of each word's pictures, and those by chance, (n, 2)."""
    rows = now.searcher().texts.rows(tuple(cases))
    return {
        word: _scores_of(model, several, row.astype(np.float64))
        for row, (word, several) in zip(rows, cases.items(), strict=True)
    }


def _scores_of(model: _Model, cases: Sequence[_Case], row: Floats) -> Floats:
    import torch

    from t2c_search.attribution.methods import place_factors
    from t2c_search.explain.maps import enlarge, maps

    scores = []
    direction, centre = torch.from_numpy(row)[None], torch.from_numpy(model.centre)
    for case in cases:
        picture, inside = _picture(case, model.encoder)
        pixels = model.encoder.normalise(model.encoder.prepare(picture).unsqueeze(0))
        factors = in_double(place_factors(model.encoder, model.aligner, pixels, model.method))
        (large,) = enlarge(maps(factors, direction, centre), factors.grid, (FINE, FINE))
        scores.append(pointing_scores(large.numpy(), inside[None])[0])
    return np.array(scores)


def _picture(case: _Case, encoder: Seeing) -> tuple[Image.Image, Inside]:
    """Open the images of a case, and say which fields of the model's view of it the word's thing is in."""
    opened = [open_image(path, encoder).pixels for path in case.paths]
    if case.boxes:
        (picture,), (width, height) = opened, case.size
        boxes = [
            (left / width, top / height, right / width, bottom / height) for left, top, right, bottom in case.boxes
        ]
    else:
        picture = collage(opened)
        left, top = case.quadrant % 2 / 2, case.quadrant // 2 / 2
        boxes = [(left, top, left + 0.5, top + 0.5)]
    return picture, inside_boxes(boxes, view_of(encoder, picture.size))
