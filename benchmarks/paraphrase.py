"""Does it matter how one puts it? Overlap of the top 10 between paraphrases, with and without prompt sets.

    python -m benchmarks.paraphrase [--quick] [--json]

Three kinds of paraphrases on the photographs of the captions' test split: ways to ask for a noun, ways to ask for a scene,
and the captions that five people wrote of one photo. Without prompt sets the text is embedded as typed. Quality is told
beside stability: mean average precision over the ways to ask for a noun, and recall@10 of a caption's own photo.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from benchmarks._captions import Photos, average_precision, load_photos
from benchmarks._common import Bar, finish, options, table
from t2c_search.query.calibration import Calibration
from t2c_search.query.concepts import Concepts
from t2c_search.query.constraints import Phrase
from t2c_search.statistics import VectorStatistics

TOP = 10
LEAST_SHOWN = 18
WAYS = (
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "there is a {}",
    "a picture with a {}",
    "one {} in the picture",
    "an image showing a {}",
)
SCENES = (
    "man in a red shirt",
    "dog running through the snow",
    "child in a swimming pool",
    "girl jumping on the beach",
    "boy with a ball",
    "woman wearing a hat",
    "climber on a rock",
    "crowd of people outside",
    "cyclist on a dirt road",
    "street with people",
)


class Reader:
    """Texts to rankings of the photos, with prompt sets or as typed."""

    def __init__(self, photos: Photos, prompts: bool) -> None:
        statistics = VectorStatistics(photos.rows.shape[1])
        statistics.add([f"{at:032x}" for at in range(len(photos.rows))], photos.rows)
        self.calibration = Calibration(statistics)
        self.photos = photos
        self.concepts = Concepts(photos.embed_texts, _nothing, _nothing, {}, free_text=prompts)

    def orders(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Rank the photos for each text."""
        phrases = [Phrase(text=text) for text in texts]
        directions = self.concepts.directions(self.calibration, phrases)
        rows = np.array([directions.axis(phrase).direction for phrase in phrases])
        return list(np.argsort(-(rows @ self.photos.rows.T.astype(np.float64)), axis=1, kind="stable"))

    def overlap(self, paraphrases: Sequence[str]) -> float:
        """Mean share that two paraphrases' top 10 have in common."""
        tops = [set(order[:TOP].tolist()) for order in self.orders(paraphrases)]
        return float(np.mean([len(one & other) / TOP for one, other in combinations(tops, 2)]))


def _nothing(name: str) -> None:
    raise AssertionError(f"no paraphrase asks for {name}")


def measure(photos: Photos, quick: bool) -> dict[str, dict[str, float]]:
    """The figures by kind, without and with prompt sets."""
    nouns = photos.frequent(LEAST_SHOWN)
    written = [[caption.rstrip(" .") for caption in photos.captions[name]] for name in photos.names]
    sampled = list(range(0, len(written), 10 if quick else 2))
    found: dict[str, dict[str, float]] = {}
    for name, prompts in (("as typed", False), ("prompt sets", True)):
        reader = Reader(photos, prompts)
        ranked = {noun: reader.orders(_ways(noun)) for noun in nouns}
        ranks = [place in order[:TOP] for place in sampled for order in reader.orders(written[place])]
        found[name] = {
            f"overlap@{TOP}, ways to ask for a noun": _mean(reader.overlap(_ways(noun)) for noun in nouns),
            f"overlap@{TOP}, ways to ask for a scene": _mean(reader.overlap(_ways(scene)) for scene in SCENES),
            f"overlap@{TOP}, five people's captions": _mean(reader.overlap(written[place]) for place in sampled),
            "mean average precision, nouns": _mean(
                average_precision(order, photos.shows(noun)) for noun, orders in ranked.items() for order in orders
            ),
            f"recall@{TOP} of a caption's photo": _mean(ranks),
        }
    return found


def _ways(thing: str) -> list[str]:
    return [way.format(thing) for way in WAYS]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def main() -> int:
    chosen = options("paraphrase", __doc__)
    photos = load_photos(quick=chosen.quick)
    figures = measure(photos, chosen.quick)
    by_figure = {row: {name: column[row] for name, column in figures.items()} for row in figures["as typed"]}
    bars = [
        Bar(f"{row}, against as typed", cells["prompt sets"], cells["as typed"]) for row, cells in by_figure.items()
    ]
    shown = table(f"{len(photos.names)} photos, {len(WAYS)} ways to ask", by_figure, list(figures))
    return finish("paraphrase", chosen, {"figures": figures}, [shown], bars)


if __name__ == "__main__":
    sys.exit(main())
