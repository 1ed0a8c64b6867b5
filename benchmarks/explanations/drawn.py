"""Drawn scenes, whose objects' masks are known: whether the map of "a red star" points at the red star.

A scene is asked about an object beside others that each share exactly one of its shape and its colour. It is hit where the
peak of the map, enlarged between the centres of its places, lies in the object's box, grown by half a place on each side.
The control is the same model with its weights shuffled.

Positive mass is per pixel: what the map of the object that is asked for has on the object and, as *background*, beside it; and
what that of an object that is not there, neither its colour nor its shape, has on the objects that are, and beside them. On
scenes of one object, words that contradict it ("a blue object", "a circle" of a red star) should have negative mass, all in all,
and the object's text should lose its score soonest when places are taken out by its own map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks._common import Bar, table
from benchmarks._parts import Measured
from benchmarks.explanations._masked import curves
from benchmarks.explanations._models import Model, Picture, align, embed, shuffle
from t2c_search.demo import words
from t2c_search.demo.backgrounds import SIDE
from t2c_search.demo.truth import Thing
from t2c_search.demo.words import with_article
from t2c_search.demo.world import Scene, draw, draw_one
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.explain.maps import enlarge, maps

POOL_SEED, FIT_SEED = 501, 502  # no recipe's seeds
SCENES, FITTED = 400, 4000
QUICK_SCENES, QUICK_FITTED = 20, 200
BARS = {"mini": 0.9, "mini:cnn": 0.8, "mini:vit": 0.7}
"""Models by id, and the least share of hits."""
COLUMNS = ("grid", "hit", "chance", "on it", "beside it", "absent, on", "absent, beside", "contradicted")
CURVES = ("deletion", "random deletion", "insertion", "random insertion")


@dataclass(frozen=True)
class Case:
    """A scene, the object that is asked for, and texts: of it, of one that is not there, and two that contradict it."""

    scene: Scene
    thing: Thing
    text: str
    absent: str
    contradictions: tuple[str, str]

    def picture(self) -> Image.Image:
        return Image.fromarray(self.scene.image)


def cases(seed: int, number: int, others: bool) -> list[Case]:
    """The first scenes of a seed with an object to ask for: beside ``others``, or the only one."""
    scenes = (draw_one(seed, index) for index in count())
    return list(islice((_case(scene, thing) for scene in scenes if (thing := _target(scene, others))), number))


def _target(scene: Scene, others: bool) -> Thing | None:
    """The first object that shares exactly one of shape and colour with each of the others."""
    things = scene.truth.things
    for thing in things if (len(things) > 1) == others else ():
        if all(
            (other.shape == thing.shape) != (other.colour == thing.colour) for other in things if other is not thing
        ):
            return thing
    return None


def _case(scene: Scene, thing: Thing) -> Case:
    rng = np.random.default_rng((scene.seed, scene.index))
    colour, shape = (
        str(rng.choice([name for name in names if all(getattr(each, kind) != name for each in scene.truth.things)]))
        for kind, names in (("colour", words.COLOURS), ("shape", words.SHAPES))
    )
    text, absent = (with_article(f"{each} {kind}") for each, kind in ((thing.colour, thing.shape), (colour, shape)))
    return Case(scene, thing, text, absent, (with_article(f"{colour} object"), with_article(shape)))


def measure(quick: bool) -> Measured:
    scenes, fitted = (QUICK_SCENES, QUICK_FITTED) if quick else (SCENES, FITTED)
    beside, single = cases(POOL_SEED, scenes, True), cases(POOL_SEED, scenes, False)
    fitting = list(draw(FIT_SEED, fitted))
    figures: dict[str, dict[str, Any]] = {}
    bars = []
    for name, bar in BARS.items():
        model, title = _model(name, fitting), "mini CLIP itself" if name == "mini" else f"{name} aligned"
        found = figures[title] = _figures(model, beside, single)
        shuffle(model.encoder)
        control = figures[f"{title}, weights shuffled"] = _hits(model, beside)
        kept = _over_chance(control) / _over_chance(found)
        absent, lost = found["absent, on"] / found["beside it"], found["deletion"] - found["random deletion"]
        bars += [
            Bar(f"{title}: the peak lies on the object", found["hit"], bar),
            Bar(f"{title}: absent objects' mass over the background's", absent, 1.0, most=True),
            Bar(f"{title}: a contradiction's mass is negative", found["contradicted"], 0.8),
            Bar(f"{title}: score left by deletion, over random order's", lost, 0.0, most=True),
            Bar(f"{title}: hits over chance that shuffled weights keep", kept, 0.5, most=True),
        ]
    title = f"{scenes} drawn scenes of several objects, {scenes} of one"
    trained = {name: each for name, each in figures.items() if "deletion" in each}
    shown = [table(title, figures, COLUMNS), table("places taken out and put back: mean score", trained, CURVES)]
    return Measured({"drawn": figures}, shown, bars)


def _model(name: str, fitting: Sequence[Scene]) -> Model:
    clip, encoder = registry.load("mini"), registry.load_image_encoder(name)
    assert isinstance(clip, DualEncoder)
    pictures: list[Picture] = [partial(Image.fromarray, scene.image) for scene in fitting]
    rows = embed(encoder, pictures)
    if name == "mini":
        return Model(encoder, None, clip, normalize(rows).mean(0))
    return align(encoder, clip, [str(scene.index) for scene in fitting], rows, embed(clip, pictures))


def _hits(model: Model, beside: Sequence[Case]) -> dict[str, Any]:
    found, grid = _maps(model, beside, [(case.text,) for case in beside])
    down, across = _peaks(found[:, 0], grid)
    grown = torch.stack([_grown(case.thing.box, [SIDE / cells / 2 for cells in grid]) for case in beside])
    return {
        "grid": f"{grid[0]} x {grid[1]}",
        "hit": float(grown[torch.arange(len(beside)), down, across].float().mean()),
        "chance": float(grown.float().mean()),
    }


def _over_chance(found: dict[str, Any]) -> float:
    return float(found["hit"] - found["chance"])


def _figures(model: Model, beside: Sequence[Case], single: Sequence[Case]) -> dict[str, Any]:
    found, grid = _maps(model, beside, [(case.text, case.absent) for case in beside])
    named, absent = enlarge(found, grid, (SIDE, SIDE)).clamp(min=0).unbind(1)
    asked = torch.stack([torch.tensor(case.thing.mask) for case in beside])
    things = torch.stack([torch.tensor(np.any([each.mask for each in case.scene.truth.things], 0)) for case in beside])
    of_single, _ = _maps(model, single, [(case.text, *case.contradictions) for case in single])
    rows = model.texts([case.text for case in single])
    return {
        **_hits(model, beside),
        "on it": float(named[asked].mean()),
        "beside it": float(named[~asked].mean()),
        "absent, on": float(absent[things].mean()),
        "absent, beside": float(absent[~things].mean()),
        "contradicted": float((of_single[:, 1:].sum(2) < 0).float().mean()),
        **curves(model, [case.picture for case in single], rows, of_single[:, 0], grid),
    }


def _maps(model: Model, asked: Sequence[Case], texts: Sequence[Sequence[str]]) -> tuple[Tensor, tuple[int, int]]:
    """Maps (n, k, places) of k texts for each scene, and their grid."""
    factors = model.factors_of([case.picture for case in asked])
    rows = model.texts([text for several in texts for text in several]).unflatten(0, (len(texts), -1))
    return maps(factors, rows, model.mean), factors.grid


def _peaks(found: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The pixels (rows, columns) where maps (n, places) peak: enlarged, they do at the centre of their largest place.

    Those of a place at the border stay as large up to the edge; the centre stands for them.
    """
    at = found.argmax(1)
    places = (at // grid[1], at % grid[1])
    down, across = (((place + 0.5) * SIDE / cells).long() for place, cells in zip(places, grid, strict=True))
    return down, across


def _grown(box: tuple[int, int, int, int], reach: Sequence[float]) -> Tensor:
    """Which pixels' centres lie in a box, grown by so many pixels (down, across)."""
    left, top, right, bottom = box
    at = torch.arange(SIDE) + 0.5
    down = (at > top - reach[0]) & (at < bottom + reach[0])
    return down[:, None] & (at > left - reach[1]) & (at < right + reach[1])
