"""What a backbone learns to see with more pairs: pointing scores word by word, aligned on 100, 500 and all train photographs.

For each word collages are made of a test photograph whose captions have it and three whose captions have not, and the map of the
word, about the mean, is scored by how it lies on the one (``t2c explain --grounding`` does the same with a collection's images).
Scores are those above what the same map would score by chance: a map with more negative mass has more by chance. As alignments
on few pairs differ among themselves, their scores are the mean of several, each on pairs of its own.

A word gains where the 95 % interval of the paired differences lies above 0. The control is the same comparison between one
alignment on few pairs and the mean of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._captions import NOUNS, forms, phrase, read_captions, words
from benchmarks._common import table
from benchmarks._parts import Measured, real_data
from benchmarks.explanations._collages import Collage
from benchmarks.explanations._models import Model, batches
from benchmarks.explanations._real import photo_path, real_model, train
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.methods import place_factors
from t2c_search.attribution.projection import UNPROJECTED, hold
from t2c_search.explain.grounding import FINE, Inside, interval, pointing_scores
from t2c_search.explain.maps import enlarge, maps

BACKBONE = "MobileNetV1"
FEW, SOME, TIMES = 100, 500, 4
LEAST, MOST = 20, 40  # photographs that a word needs, and collages of it
QUICK_WORDS, QUICK_MOST, QUICK_FEW, QUICK_SOME = 2, 4, 20, 30
COLUMNS = ("collages", "few", "some", "all", "gain", "low", "high")
OTHERS = "none of the word"


def measure(quick: bool) -> Measured:
    if real_data() is None:
        return Measured({"grounding": "real data not found: set T2C_REAL_DATA"}, [], [])
    sizes = {"few": QUICK_FEW if quick else FEW, "some": QUICK_SOME if quick else SOME, "all": len(train(quick))}
    models = {name: _aligned(quick, pairs) for name, pairs in sizes.items()}
    figures: dict[str, dict[str, Any]] = {}
    changed: dict[str, list[str]] = {"gain": [], "lose": [], "gain in the control": [], "lose in the control": []}
    for word, cases in _cases(quick).items():
        scores = _scores(word, cases, models)
        few, more = scores["few"].mean(0), scores["all"].mean(0)
        gain, low, high = interval(more - few)
        means = {name: float(each.mean()) for name, each in scores.items()}
        figures[word] = {"collages": len(cases), **means, "gain": gain, "low": low, "high": high}
        _, control_low, control_high = interval(scores["few"][0] - scores["few"][1:].mean(0))
        kinds = (low > 0, high < 0, control_low > 0, control_high < 0)
        for words_so, is_so in zip(changed.values(), kinds, strict=True):
            words_so += [word] * is_so
    ordered = dict(sorted(figures.items(), key=lambda item: -item[1]["gain"]))
    mean = {name: float(np.mean([each[name] for each in figures.values()])) for name in (*models, "gain")}
    told = "; ".join(f"{len(each)} {kind} ({', '.join(each)})" for kind, each in changed.items())
    told_sizes = ", ".join(f"{name} {pairs}" for name, pairs in sizes.items())
    title = f"{BACKBONE}, pairs: {told_sizes}; of {len(figures)} words {told}"
    shown = table(title, {**ordered, "mean of the words": mean}, COLUMNS)
    return Measured({"words": ordered, "mean": mean, **changed}, [shown], [])


def _aligned(quick: bool, pairs: int) -> list[Model]:
    """Alignments on so many pairs, each on others."""
    starts = range(0, len(train(quick)) - pairs + 1, pairs)[:TIMES]
    return [real_model(BACKBONE, quick, slice(start, start + pairs)) for start in starts]


def _cases(quick: bool) -> dict[str, list[Collage]]:
    """Collages for each word that enough test photographs have, the word's in each quadrant in turn."""
    said = {photo_path(name): words(captions) for name, captions in read_captions("test").items()}
    cases = {}
    for word in NOUNS.split():
        rng = np.random.default_rng(len(cases))
        having, lacking = ([file for file in said if bool(said[file] & forms(word)) is has] for has in (True, False))
        if len(having) < LEAST:
            continue
        chosen = rng.permutation(len(having))[: QUICK_MOST if quick else MOST]
        others = rng.permutation(len(lacking))[: 3 * len(chosen)].reshape(-1, 3)
        cases[word] = [
            _collage(word, [having[own], *(lacking[other] for other in three)], place % 4)
            for place, (own, three) in enumerate(zip(chosen, others, strict=True))
        ]
        if quick and len(cases) == QUICK_WORDS:
            break
    return cases


def _collage(word: str, files: list[Any], quadrant: int) -> Collage:
    own, *others = files
    nouns = [OTHERS] * 3
    others.insert(quadrant, own)
    nouns.insert(quadrant, word)
    return Collage(tuple(others), tuple(nouns), (word,))


def _scores(word: str, cases: Sequence[Collage], models: dict[str, list[Model]]) -> dict[str, np.ndarray]:
    """The scores above chance (alignments, cases), all of one backbone."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for batch in batches(cases):
        first = models["all"][0]
        native = place_factors(first.encoder, UNPROJECTED, first.pixels([case.picture for case in batch]))
        inside = np.stack([case.inside(word) for case in batch])
        for name, several in models.items():
            found[name].append(np.stack([_above_chance(native, model, word, inside) for model in several]))
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def _above_chance(native: PlaceFactors, model: Model, word: str, inside: Inside) -> np.ndarray:
    row = model.texts([phrase(word)])
    large = enlarge(maps(_projected(native, model), row, model.mean), native.grid, (FINE, FINE))[:, 0]
    scores, chance = pointing_scores(large.numpy(), inside).T
    return scores - chance


def _projected(native: PlaceFactors, model: Model) -> PlaceFactors:
    held = hold(native.vectors, model.aligner)
    base, parts = held.base + held.map(native.base), held.map(native.parts)
    return PlaceFactors(held.base + held.map(native.vectors), base, parts, native.method, native.grid)
