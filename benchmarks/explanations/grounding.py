"""What a backbone learns to see with more pairs: pointing scores word by word, aligned on 100, 500 and all train photographs.

For each word collages are made of a test photograph whose captions have it and three whose captions have not, and the map of the
word, about the mean, is scored by how it lies on the one (``t2c explain --grounding`` does the same with a collection's images).
A word gains where the 95 % interval of the paired differences lies above 0. The control is the same comparison between
alignments on 100 pairs and on 100 others: by chance alone 2.5 % of the words would gain.
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
from t2c_search.explain.grounding import FINE, interval, pointing_scores
from t2c_search.explain.maps import enlarge, maps

BACKBONE = "MobileNetV1"
FEW, SOME = 100, 500
LEAST, MOST = 20, 40  # photographs that a word needs, and collages of it
QUICK_WORDS, QUICK_MOST, QUICK_FEW, QUICK_SOME = 3, 4, 30, 50
COLUMNS = ("collages", "few", "some", "all", "gain", "low", "high")
OTHERS = "none of the word"


def measure(quick: bool) -> Measured:
    if real_data() is None:
        return Measured({"grounding": "real data not found: set T2C_REAL_DATA"}, [], [])
    few, some = (QUICK_FEW, QUICK_SOME) if quick else (FEW, SOME)
    models = {
        "few": real_model(BACKBONE, quick, slice(few)),
        "some": real_model(BACKBONE, quick, slice(some)),
        "all": real_model(BACKBONE, quick),
        "other few": real_model(BACKBONE, quick, slice(few, 2 * few)),
    }
    figures: dict[str, dict[str, Any]] = {}
    control = 0
    for word, cases in _cases(quick).items():
        scores = _scores(word, cases, models)
        gain, low, high = interval(scores["all"] - scores["few"])
        means = {name: float(each.mean()) for name, each in scores.items() if name in COLUMNS}
        figures[word] = {"collages": len(cases), **means, "gain": gain, "low": low, "high": high}
        control += interval(scores["other few"] - scores["few"])[1] > 0
    ordered = dict(sorted(figures.items(), key=lambda item: -item[1]["gain"]))
    gained = [word for word, each in ordered.items() if each["low"] > 0]
    lost = [word for word, each in ordered.items() if each["high"] < 0]
    mean = {name: float(np.mean([each[name] for each in figures.values()])) for name in ("few", "some", "all", "gain")}
    title = (
        f"{BACKBONE} on few ({few}), some ({some}) and all ({len(train(quick))}) pairs: of {len(figures)} words {len(gained)} "
        f"gain ({', '.join(gained)}), {len(lost)} lose; between {few} pairs and {few} others {control} gain"
    )
    shown = table(title, {**ordered, "mean of the words": mean}, COLUMNS)
    return Measured({"words": ordered, "mean": mean, "gained": gained, "lost": lost, "control": control}, [shown], [])


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


def _scores(word: str, cases: Sequence[Collage], models: dict[str, Model]) -> dict[str, np.ndarray]:
    """The scores (cases,) of each model, all of which have the same backbone."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for batch in batches(cases):
        (first, *_) = models.values()
        native = place_factors(first.encoder, UNPROJECTED, first.pixels([case.picture for case in batch]))
        inside = np.stack([case.inside(word) for case in batch])
        for name, model in models.items():
            (large,) = enlarge(
                maps(_projected(native, model), model.texts([phrase(word)]), model.mean), native.grid, (FINE, FINE)
            ).unbind(1)
            found[name].append(pointing_scores(large.numpy(), inside)[:, 0])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _projected(native: PlaceFactors, model: Model) -> PlaceFactors:
    held = hold(native.vectors, model.aligner)
    base, parts = held.base + held.map(native.base), held.map(native.parts)
    return PlaceFactors(held.base + held.map(native.vectors), base, parts, native.method, native.grid)
