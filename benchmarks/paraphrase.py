"""Does it matter how one puts it? Overlap of the top 10 between paraphrases: as typed, with prompt sets, with ensembles.

    python -m benchmarks.paraphrase [--quick] [--json]

On the photographs of the captions' test split, by kind of paraphrase:

- ways that a prompt set takes to be one: "a photo of a dog" is asked as "dog" is, so most of their overlap with prompt sets
  is so by construction and proves only that; how many differ is told, and no ensemble is made of them;
- frames: eight ways to ask for a noun that the prompt set leaves as they are;
- synonyms: other words for a noun, written for this benchmark;
- scenes: whole sentences, each put in six ways, written for this benchmark;
- captions: what five people wrote of one photo. They saw it, and may not speak of the same things.

An ensemble is the mean direction of several wordings, as ``t2c concept add`` saves it. Its overlap is that of one half of a
thing's wordings with the other half, over all ways to halve them: no wording is on both sides. Quality is told beside
stability: mean average precision over the wordings for a noun, and recall@10 of a caption's own photo.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from benchmarks._captions import Photos, average_precision, load_photos
from benchmarks._common import Bar, finish, options, table
from benchmarks._wordings import FRAMES, SCENES, SYNONYMS, WAYS
from t2c_search.query.planning.texts import Texts

TOP = 10
LEAST_SHOWN = 18
TYPED, PROMPTS, ENSEMBLE = COLUMNS = ("as typed", "prompt sets", "ensembles")
ONE_BY_CONSTRUCTION, CAPTIONS = "ways that prompt sets take to be one", "five people's captions"

Wordings = Sequence[str]
Order = NDArray[np.int64]


class Reader:
    """Wordings to rankings of the photos, with prompt sets or as typed."""

    def __init__(self, photos: Photos, prompts: bool) -> None:
        self.rows = photos.rows.astype(np.float64)
        self.texts = Texts(photos.embed_texts, free_text=prompts)

    def order(self, wordings: Wordings) -> Order:
        """Rank the photos for the mean of some wordings."""
        return np.argsort(-(self.rows @ self.texts.worded(wordings)), kind="stable")

    def overlap(self, pairs: Iterable[tuple[Wordings, Wordings]]) -> float:
        """Mean share that the top 10 of the two sides have in common."""
        tops = [[set(self.order(side)[:TOP].tolist()) for side in pair] for pair in pairs]
        return _mean(len(one & other) / TOP for one, other in tops)


def single(wordings: Wordings) -> list[tuple[Wordings, Wordings]]:
    """Every two wordings, each by itself."""
    return [((one,), (other,)) for one, other in combinations(wordings, 2)]


def halves(wordings: Wordings) -> list[tuple[Wordings, Wordings]]:
    """Every way to part wordings into two halves, the first of which has the odd one less."""
    places = range(len(wordings))
    parted = [set(chosen) for chosen in combinations(places, len(wordings) // 2)]
    sides = [
        ([w for at, w in enumerate(wordings) if (at in one) == inside] for inside in (True, False)) for one in parted
    ]
    both = [(first, second) for first, second in sides]
    return both[: len(both) // 2] if len(wordings) % 2 == 0 else both  # the rest are the same pairs, turned


def things(photos: Photos, quick: bool) -> dict[str, list[Wordings]]:
    """Kinds of paraphrases to the things asked for, each in its wordings."""
    nouns = photos.frequent(LEAST_SHOWN)
    written = [[caption.rstrip(" .") for caption in photos.captions[name]] for name in photos.names]
    return {
        ONE_BY_CONSTRUCTION: [[way.format(noun) for way in WAYS] for noun in nouns],
        "frames for a noun": [[frame.format(noun) for frame in FRAMES] for noun in nouns],
        "synonyms of a noun": list(SYNONYMS.values()),
        "scenes put in six ways": list(SCENES),
        CAPTIONS: written[:: 10 if quick else 2],
    }


def stability(readers: tuple[Reader, Reader], asked: Mapping[str, list[Wordings]]) -> dict[str, dict[str, float]]:
    """Mean overlap by kind of paraphrase and column, and how many of a thing's wordings differ to prompt sets."""
    typed, prompted = readers
    found: dict[str, dict[str, float]] = {}
    for kind, each in asked.items():
        found[kind] = {
            "things": len(each),
            "wordings": _mean(len(wordings) for wordings in each),
            "of which differ": _mean(len({tuple(prompted.texts.prompts(w)) for w in ws}) for ws in each),
            TYPED: _mean(typed.overlap(single(wordings)) for wordings in each),
            PROMPTS: _mean(prompted.overlap(single(wordings)) for wordings in each),
        }
        if kind != ONE_BY_CONSTRUCTION:
            found[kind][ENSEMBLE] = _mean(prompted.overlap(halves(wordings)) for wordings in each)
    return found


def quality(
    readers: tuple[Reader, Reader], photos: Photos, asked: Mapping[str, list[Wordings]], quick: bool
) -> dict[str, dict[str, float]]:
    """What the rankings are worth; an ensemble is of one half of the wordings here too, so that none knows more."""
    relevant = [photos.shows(noun) for noun in photos.frequent(LEAST_SHOWN)]
    places = range(0, len(photos.names), 10 if quick else 2)
    synonymous = [photos.shows(noun) for noun in SYNONYMS]

    def precision(kind: str, shown: Sequence[NDArray[np.bool_]]) -> Callable[[Reader, bool], float]:
        return lambda reader, joined: _mean(
            average_precision(reader.order(side), shows)
            for wordings, shows in zip(asked[kind], shown, strict=True)
            for side in _sides(wordings, joined)
        )

    def recall(reader: Reader, joined: bool) -> float:
        return _mean(
            place in reader.order(side)[:TOP]
            for place, wordings in zip(places, asked[CAPTIONS], strict=True)
            for side in _sides(wordings, joined)
        )

    judged = {
        "mean average precision, frames": precision("frames for a noun", relevant),
        "mean average precision, synonyms": precision("synonyms of a noun", synonymous),
        f"recall@{TOP} of a caption's photo": recall,
    }
    typed, prompted = readers
    return {
        name: {TYPED: judge(typed, False), PROMPTS: judge(prompted, False), ENSEMBLE: judge(prompted, True)}
        for name, judge in judged.items()
    }


def _sides(wordings: Wordings, joined: bool) -> list[Wordings]:
    return [side for pair in halves(wordings) for side in pair] if joined else [[wording] for wording in wordings]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def bars(stable: Mapping[str, Mapping[str, float]], worth: Mapping[str, Mapping[str, float]]) -> list[Bar]:
    """Prompt sets do no harm to what was typed, nor ensembles to prompt sets; what is so by construction is not judged."""
    figures = {f"overlap@{TOP}, {kind}": row for kind, row in stable.items() if kind != ONE_BY_CONSTRUCTION} | dict(
        worth
    )
    return [
        Bar(f"{name}: {better}, against {than}", row[better], row[than])
        for name, row in figures.items()
        for better, than in ((PROMPTS, TYPED), (ENSEMBLE, PROMPTS))
    ]


def main() -> int:
    chosen = options("paraphrase", __doc__)
    photos = load_photos(quick=chosen.quick)
    asked = things(photos, chosen.quick)
    readers = Reader(photos, False), Reader(photos, True)
    stable, worth = stability(readers, asked), quality(readers, photos, asked, chosen.quick)
    columns = ("things", "wordings", "of which differ", *COLUMNS)
    shown = [
        table(f"Overlap@{TOP} of paraphrases, {len(photos.names)} photos", stable, columns),
        table("Quality", worth, COLUMNS),
    ]
    return finish("paraphrase", chosen, {"overlap": stable, "quality": worth}, shown, bars(stable, worth))


if __name__ == "__main__":
    sys.exit(main())
