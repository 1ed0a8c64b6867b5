"""What a collection's captions and boxes say of some words, and the pictures to make of it."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from t2c_search.collection.snapshot import Snapshot
from t2c_search.concepts.vocabulary import captions_of
from t2c_search.decoding.metadata import CAPTIONS
from t2c_search.errors import UsageError
from t2c_search.explain.grounding import Contradiction
from t2c_search.stores.matching import values_at
from t2c_search.types import CLIP, Payload

_TOLD = 10  # contradictions of a word

Box = tuple[float, ...]
"""Left, top, right and bottom in pixels of the upright image."""


@dataclass(frozen=True, slots=True)
class Case:
    """A picture's images by their paths, and where in it the word's thing is: in a quadrant, or in boxes of the one image."""

    paths: tuple[str, ...]
    quadrant: int = 0
    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] = (1, 1)


@dataclass(slots=True)
class SaidWord:
    """What the collection says of a word: images that have it, others that lack it, and what captions claim."""

    having: list[Case] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    claimed: int = 0
    contradicted: int = 0
    worst: list[tuple[float, str, Contradiction]] = field(default_factory=list)

    def cases(self) -> list[Case]:
        """Return the pictures to make; of captions, as many as there are three others for, in turn in each quadrant."""
        if self.having and self.having[0].boxes:
            return self.having
        whole = []
        for at, case in enumerate(self.having[: len(self.lacking) // 3]):
            others, place = self.lacking[3 * at : 3 * at + 3], at % 4
            whole.append(replace(case, paths=(*others[:place], *case.paths, *others[place:]), quadrant=place))
        return whole

    def judge(self, claim: Contradiction) -> None:
        """Count a caption's claim, and keep the worst of those that their pictures contradict."""
        self.claimed += 1
        if claim.z < 0:
            self.contradicted += 1
            heapq.heappush(self.worst, (-claim.z, claim.id, claim))
            if len(self.worst) > _TOLD:
                heapq.heappop(self.worst)


@dataclass(frozen=True, slots=True)
class AskedWords:
    """Of which words to read what images show, from captions or else the field of ``boxes``, and how many images of each."""

    words: tuple[str, ...]
    boxes: str | None
    images: int


def read_cases(now: Snapshot, asked: AskedWords) -> dict[str, SaidWord]:
    """Read the collection once, in batches; ids are hashes, so that the first images are a random sample.

    Raises UsageError where the field holds no boxes.
    """
    searcher = now.searcher()
    axes = [searcher.calibration.axis(row.astype(np.float64)) for row in searcher.texts.rows(asked.words)]
    written = [re.compile(rf"\b{re.escape(word)}(?:e?s)?\b", re.IGNORECASE) for word in asked.words]
    found = {word: SaidWord() for word in asked.words}
    fields = (CAPTIONS, "path", "width", "height", *([asked.boxes.partition(".")[0]] if asked.boxes else []))
    for points in searcher.read(payload=fields):
        vectors = points.vectors[CLIP].astype(np.float64)
        z = np.stack([axis.z(vectors @ axis.direction) for axis in axes], axis=1)
        for point_id, payload, scores in zip(points.ids, points.payloads, z.tolist(), strict=True):
            captions, boxes = captions_of(payload), _boxes(payload, asked.boxes)
            for (word, said), pattern, score in zip(found.items(), written, scores, strict=True):
                claims = [each for each in captions if pattern.search(each)]
                if claims:
                    said.judge(Contradiction(word, point_id, payload["path"], claims[0], score))
                if asked.boxes is not None:
                    own = tuple(box for label, box in boxes if pattern.fullmatch(label))
                    if own and len(said.having) < asked.images:
                        size = (payload["width"], payload["height"])
                        said.having.append(Case((payload["path"],), boxes=own, size=size))
                elif claims and len(said.having) < asked.images:
                    said.having.append(Case((payload["path"],)))
                elif captions and not claims and len(said.lacking) < 3 * asked.images:
                    said.lacking.append(payload["path"])
    return found


def _boxes(payload: Payload, name: str | None) -> list[tuple[str, Box]]:
    """Return the labelled boxes of an image. Raises UsageError for what is none."""
    if name is None:
        return []
    try:
        return [
            _box(each) for value in values_at(payload, name) for each in (value if isinstance(value, list) else [value])
        ]
    except (TypeError, KeyError, ValueError) as exc:
        raise UsageError(
            f"the field {name!r} of {payload.get('path')} holds no boxes: expected objects with a label and a box of left, top, "
            "right and bottom in pixels"
        ) from exc


def _box(told: Any) -> tuple[str, Box]:
    left, top, right, bottom = map(float, told["box"])
    return str(told["label"]), (left, top, right, bottom)
