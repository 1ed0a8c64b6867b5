"""The grid pointing game on real photographs: in a collage of four, does the map of "a dog" lie on the dog's quadrant?

Texts name one to four of a collage's nouns. A noun's score is (positive mass inside + negative mass outside) / all mass, as
published (METHODS: exCLIP, Metagame). A map that is negative everywhere scores .75 by that, so that beside it stands the share of
the positive mass that lies inside, by chance .25. Ways to the maps, all of one text for each noun but where they say otherwise:

- *ours*: the noun's own text, about the collection's mean, contested among the nouns named (``t2c_search.explain.maps``)
- *own text, about the mean* and *own text*: the same patch factors, uncontested
- *token factors*: the noun's tokens within the text that names them all, times the same patch factors (Moeller et al. 2025)
- *the whole text*: first-order maps, one for all nouns
- MaskCLIP, Grad-CAM, gradient x input, random, and the constant that is negative everywhere
- MaskCLIP and Grad-CAM contested as ours are: what the contest is worth without our factors (no bar)

    python -m benchmarks.explanations.pointing ID

plays it with another CLIP model, a transformer or one that pools by mean, such as open_clip:ViT-B-32/openai, and prints its table
beside the published figures.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks._captions import phrase
from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.explanations._baselines import grad_cam, gradient_times_input, mask_clip
from benchmarks.explanations._collages import QUADRUPLES, Collage, of_captions, of_full_size, text_of
from benchmarks.explanations._models import Model, batches
from benchmarks.explanations._real import another_clip, real_model, train
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.tokens import token_factors
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.explain.grounding import FINE, pointing_scores
from t2c_search.explain.maps import contested, enlarge, maps

OURS = "ours: own text, about the mean, contested"
NEGATIVE = "negative everywhere"
CONTESTED = ("MaskCLIP-like, contested", "Grad-CAM-like, contested")
NAMED = (1, 2, 3, 4)
EACH, QUICK_EACH, FEW_EACH = 50, 1, 2
"""Collages of each quadruple."""
MEAN_OF = 500  # photographs, about whose mean another CLIP model's maps are
PUBLISHED = {  # of CLIP ViT-B/32, on other pictures
    "published: Grad-ECLIP": (0.68, 0.45, 0.33, 0.28),
    "published: exCLIP": (0.73, 0.88, 0.89, 0.92),
    "published: FIxLIP": (0.83, 0.81, 0.83, 0.85),
    "published: Metagame": (0.89, 0.88, 0.90, 0.91),
}
COLUMNS = (*(f"{n} named" for n in NAMED), *(f"inside, {n}" for n in NAMED))

Rows = dict[str, dict[str, float]]
Ways = Mapping[str, Callable[[int], Tensor]]
"""How many nouns are named -> their maps (pictures, nouns, rows, columns)."""


@dataclass(frozen=True)
class Game:
    """Collages, and what a CLIP model's text side knows of their nouns."""

    collages: Sequence[Collage]
    clip: DualEncoder

    @cached_property
    def own(self) -> dict[str, Tensor]:
        """A row for each noun."""
        nouns = sorted({noun for collage in self.collages for noun in collage.nouns})
        return dict(zip(nouns, self.clip.encode_texts([phrase(noun) for noun in nouns]), strict=True))

    @cached_property
    def within(self) -> dict[str, tuple[Tensor, dict[str, Tensor]]]:
        """For each text that names some nouns its row, and what each noun's tokens give to it."""
        named = sorted({_named(collage, n) for collage in self.collages for n in NAMED})
        texts = [text_of(nouns) for nouns in named]
        found = token_factors(self.clip, texts)
        told = {}
        for at, (text, nouns) in enumerate(zip(texts, named, strict=True)):
            starts = {noun: text.index(phrase(noun)) + len(phrase(noun)) - len(noun) for noun in nouns}
            parts = {noun: found.of_span(at, start, start + len(noun)) for noun, start in starts.items()}
            told[text] = (found.vectors[at], parts)
        return told

    def play(self, model: Model, method: str = "auto", *, others: bool = True) -> Rows:
        """Mean scores of each way; only those of the factors without the ``others``."""
        scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for batch in batches(self.collages):
            pixels = model.pixels([collage.picture for collage in batch])
            ways = self._by_factors(batch, model, model.factors(pixels, method))
            for name, way in {**ways, **(self._by_others(batch, model, pixels) if others else {})}.items():
                for n in NAMED:
                    self._score(batch, way(n), scores[name], n)
        return {
            name: {column: statistics.fmean(values) for column, values in each.items() if values}
            for name, each in scores.items()
        }

    def _score(self, batch: Sequence[Collage], found: Tensor, into: dict[str, list[float]], n: int) -> None:
        large = enlarge(found.flatten(2), found.shape[2:], (FINE, FINE)).flatten(0, 1).numpy()
        inside = np.stack([collage.inside(noun) for collage in batch for noun in _named(collage, n)])
        into[f"{n} named"] += pointing_scores(large, inside)[:, 0].tolist()
        positive = large.clip(min=0)
        mass, lying_inside = positive.sum((1, 2)), (positive * inside).sum((1, 2))
        into[f"inside, {n}"] += (lying_inside[mass > 0] / mass[mass > 0]).tolist()  # a map may be negative everywhere

    def _rows(self, batch: Sequence[Collage], n: int) -> Tensor:
        return torch.stack([torch.stack([self.own[noun] for noun in _named(collage, n)]) for collage in batch])

    def _by_factors(self, batch: Sequence[Collage], model: Model, factors: PlaceFactors) -> Ways:
        def within(n: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
            return [self.within[text_of(_named(collage, n))] for collage in batch]

        def tokens(n: int) -> Tensor:
            return torch.stack([torch.stack(list(parts.values())) for _, parts in within(n)])

        def whole(n: int) -> Tensor:
            return torch.stack([row.expand(n, -1) for row, _ in within(n)])

        def mapped(rows: Tensor) -> Tensor:
            return maps(factors, rows, model.mean)

        ways: Ways = {
            OURS: lambda n: contested(mapped(self._rows(batch, n))),
            "own text, about the mean": lambda n: mapped(self._rows(batch, n)),
            "own text": lambda n: self._rows(batch, n) @ factors.parts.mT,
            "token factors": lambda n: tokens(n) @ factors.parts.mT,
            "the whole text": lambda n: whole(n) @ factors.parts.mT,
        }
        return {name: _on(factors.grid, way) for name, way in ways.items()}

    def _by_others(self, batch: Sequence[Collage], model: Model, pixels: Tensor) -> Ways:
        nouns = [_named(collage, 4) for collage in batch]
        rows, generator = self._rows(batch, 4), torch.Generator().manual_seed(len(nouns))

        def of(found: Tensor) -> Callable[[int], Tensor]:
            return lambda n: torch.stack(
                [
                    each[[own.index(noun) for noun in _named(collage, n)]]
                    for each, own, collage in zip(found, nouns, batch, strict=True)
                ]
            )

        shape = (len(batch), 4, 7, 7)
        maskclip, gradcam = of(mask_clip(model, pixels, rows)), of(grad_cam(model, pixels, rows))
        return {
            "MaskCLIP-like": maskclip,
            "Grad-CAM-like": gradcam,
            CONTESTED[0]: _contested(maskclip),
            CONTESTED[1]: _contested(gradcam),
            "gradient x input": of(gradient_times_input(model, pixels, rows)),
            "random": of(torch.randn(shape, generator=generator)),
            NEGATIVE: of(-torch.ones(shape)),
        }


def _named(collage: Collage, n: int) -> tuple[str, ...]:
    """The n nouns that a collage's text names, in alphabetical order."""
    return tuple(sorted(collage.named[:n]))


def _contested(way: Callable[[int], Tensor]) -> Callable[[int], Tensor]:
    def run(n: int) -> Tensor:
        found = way(n)
        return contested(found.flatten(2)).view_as(found)

    return run


def _on(grid: tuple[int, int], way: Callable[[int], Tensor]) -> Callable[[int], Tensor]:
    return lambda n: way(n).unflatten(2, grid)


def measure(quick: bool) -> Measured:
    if real_data() is None:
        return Measured({"pointing": "real data not found: set T2C_REAL_DATA"}, [], [])
    each, quadruples = (QUICK_EACH, QUADRUPLES[:3]) if quick else (EACH, QUADRUPLES)
    names = ("flickr-mini", "MobileNetV1") if quick else ("flickr-mini", "MobileNetV1", "MobileNetV2")
    models = {name: real_model(name, quick) for name in names}
    clip = models["flickr-mini"].clip
    game = Game(of_captions("test", quadruples, each), clip)
    full_size, counts = of_full_size(each)
    figures = {f"{name}, {len(game.collages)} collages": game.play(model) for name, model in models.items()}
    bars = [_ahead(name, rows) for name, rows in figures.items()]
    if not quick:
        figures |= _transformer(game)
    for name, model in models.items():
        title = f"{name}, full-size pictures, {len(full_size)} collages"
        figures[title] = Game(full_size, clip).play(model, others=False)
    tables = [table(f"pointing game: {name}", rows, COLUMNS) for name, rows in figures.items()]
    tables.append(table("full-size pictures of each word", {"pictures": counts}, list(counts)))
    tables.append(_published(None))
    return Measured({"pointing": figures, "full_size": counts}, tables, bars)


def _transformer(game: Game) -> dict[str, Rows]:
    """ViT-S on all collages; on a few, as they take long, others' ways and Banzhaf values."""
    model, few = real_model("ViT-S", False), Game(of_captions("test", QUADRUPLES, FEW_EACH), game.clip)
    return {
        f"ViT-S, {len(game.collages)} collages": game.play(model, others=False),
        f"ViT-S, {len(few.collages)} collages": few.play(model),
        f"ViT-S by Banzhaf values, {len(few.collages)} collages": few.play(model, "banzhaf", others=False),
    }


def _ahead(name: str, rows: Rows) -> Bar:
    others = [row for way, row in rows.items() if way not in (OURS, NEGATIVE, *CONTESTED)]
    several = [column for column in COLUMNS if "1" not in column]
    lead = min(rows[OURS][column] - max(row[column] for row in others) for column in several)
    return Bar(f"{name}: ours ahead of every other way at 2, 3 and 4 nouns named, by both measures", lead, 0.0)


def _published(reached: Rows | None) -> Table:
    rows = {name: dict(zip(COLUMNS, values, strict=False)) for name, values in PUBLISHED.items()}
    title = "the goal, for who has the weights: python -m benchmarks.explanations.pointing open_clip:ViT-B-32/openai"
    return table(title, {**rows, **(reached or {})}, COLUMNS)


def main() -> int:
    """Play with the CLIP model that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python -m benchmarks.explanations.pointing ID, such as open_clip:ViT-B-32/openai")
        return 2
    if real_data() is None:
        print("real data not found: set T2C_REAL_DATA")
        return 2
    model = another_clip(sys.argv[1], train(False)[:MEAN_OF])
    console = Console(width=None if Console().is_terminal else 120)
    console.print(_published(Game(of_captions("test", QUADRUPLES, EACH), model.clip).play(model)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
