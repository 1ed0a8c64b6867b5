"""What a collection's model knows of some words: cases chosen from its images, and their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from t2c_search.collection.explaining.cases import AskedWords, Case, SaidWord, read_cases
from t2c_search.collection.explaining.sources import Seeing, image_side, open_image, seeing
from t2c_search.collection.models import trusted
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explainer import in_double
from t2c_search.explain.grounding import (
    FINE,
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

if TYPE_CHECKING:
    from PIL import Image

    from t2c_search.alignment.aligner import Aligner

Floats = npt.NDArray[np.float64]

_LEAST = 5  # cases of a word, below which nothing is said of it
_TOLD = 10  # contradictions of a word
_BATCH = 16
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
            return _ground(now, models, AskedWords(now.vocabulary(words).names, boxes, images))

        return self._snapshots.ask(answer)


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """What is asked for maps: an encoder, its aligner if any, and the mean of its vectors."""

    name: str
    encoder: Seeing
    aligner: Aligner | None
    method: str
    centre: Floats


def _ground(now: Snapshot, models: Sequence[_Model], asked: AskedWords) -> Grounding:
    known = read_cases(now, asked)
    if not any(word.having for word in known.values()):
        where = f"no box of {asked.boxes!r} has" if asked.boxes else "no image's captions have"
        raise UsageError(
            f"{where} any of these words: give others, or index with what tells them (--captions, a table)"
        )
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


def _told(word: str, known: SaidWord, scores: Sequence[Floats]) -> GroundedWord:
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


def _scores(now: Snapshot, model: _Model, cases: Mapping[str, Sequence[Case]]) -> dict[str, Floats]:
    """Return a model's pointing scores of each word's pictures, and those by chance, (n, 2)."""
    rows = now.searcher().texts.rows(tuple(cases))
    return {
        word: _scores_of(model, several, row.astype(np.float64))
        for row, (word, several) in zip(rows, cases.items(), strict=True)
    }


def _scores_of(model: _Model, cases: Sequence[Case], row: Floats) -> Floats:
    import torch

    from t2c_search.attribution.methods import place_factors
    from t2c_search.explain.maps import enlarge, maps

    scores = []
    direction, centre = torch.from_numpy(row)[None], torch.from_numpy(model.centre)
    for start in range(0, len(cases), _BATCH):
        pictures, inside = zip(*(_picture(case, model.encoder) for case in cases[start : start + _BATCH]), strict=True)
        pixels = model.encoder.normalise(torch.stack([model.encoder.prepare(picture) for picture in pictures]))
        factors = in_double(place_factors(model.encoder, model.aligner, pixels, model.method))
        large = enlarge(maps(factors, direction, centre), factors.grid, (FINE, FINE))[:, 0]
        scores.append(pointing_scores(large.numpy(), np.stack(inside)))
    return np.concatenate(scores)


def _picture(case: Case, encoder: Seeing) -> tuple[Image.Image, Inside]:
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
