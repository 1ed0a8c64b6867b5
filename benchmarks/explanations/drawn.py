"""Drawn scenes, whose objects' masks are known: whether the map of "a red star" points at the red star.

A scene is asked about an object beside others that each share exactly one of its shape and its colour. It is hit where the
peak of the map, enlarged between the centres of its places, lies in the object's box, grown by half a place on each side.
The control is the same model with its weights shuffled, aligned anew.
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
from benchmarks.explanations._models import Model, Picture, align, embed
from t2c_search.demo import words
from t2c_search.demo.backgrounds import SIDE
from t2c_search.demo.truth import Thing
from t2c_search.demo.words import with_article
from t2c_search.demo.world import Scene, draw, draw_one
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.explain.maps import enlarge, maps

POOL_SEED, FIT_SEED, WEIGHT_SEED = 501, 502, 503  # no recipe's seeds
SCENES, FITTED = 400, 4000
QUICK_SCENES, QUICK_FITTED = 40, 400
BARS = {"mini": 0.9, "mini:cnn": 0.8, "mini:vit": 0.7}
"""Models by id, and the least share of hits."""
COLUMNS = (
    "grid",
    "hit",
    "chance",
    "named",
    "absent",
    "contradicted",
    "deletion",
    "random deletion",
    "insertion",
    "random insertion",
)


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
        found = _figures(_model(name, fitting, shuffled=False), beside, single)
        control = _figures(_model(name, fitting, shuffled=True), beside, single)
        title = "mini CLIP itself" if name == "mini" else f"{name} aligned"
        figures[title] = found
        figures[f"{title}, weights shuffled"] = control
        bars += [
            Bar(f"{title}: the peak lies on the object", found["hit"], bar),
            Bar(f"{title}: absent objects, mass on objects over that beside", found["absent"], 1.0, most=True),
            Bar(f"{title}: a contradiction's mass on the object is negative", found["contradicted"], 0.8),
            Bar(
                f"{title}: deletion against random order", found["deletion"] - found["random deletion"], 0.0, most=True
            ),
            Bar(f"{title}: weights shuffled, hits over chance", control["hit"] - control["chance"], 0.1, most=True),
        ]
    shown = table(f"{scenes} drawn scenes of several objects, {scenes} of one", figures, COLUMNS)
    return Measured({"drawn": figures}, [shown], bars)


def _model(name: str, fitting: Sequence[Scene], *, shuffled: bool) -> Model:
    clip, encoder = registry.load("mini"), registry.load_image_encoder(name)
    assert isinstance(clip, DualEncoder)
    if shuffled:
        shuffle(encoder)
    pictures: list[Picture] = [partial(Image.fromarray, scene.image) for scene in fitting]
    rows = embed(encoder, pictures)
    if name == "mini":
        return Model(encoder, None, clip, normalize(rows).mean(0))
    return align(encoder, clip, [str(scene.index) for scene in fitting], rows, embed(clip, pictures))


def shuffle(encoder: Any) -> None:
    """Shuffle the numbers of each of a model's weights, in place: what it has learnt goes, how large they are stays."""
    generator = torch.Generator().manual_seed(WEIGHT_SEED)
    for weight in encoder.module.parameters():
        weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=generator)].view_as(weight))


def _figures(model: Model, beside: Sequence[Case], single: Sequence[Case]) -> dict[str, Any]:
    found, grid = _maps(model, beside, [(case.text, case.absent) for case in beside])
    large = enlarge(found, grid, (SIDE, SIDE))
    reach = [SIDE / cells / 2 for cells in grid]
    grown = torch.stack([_grown(case.thing.box, reach) for case in beside])
    peaks = large[:, 0].flatten(1).argmax(1, keepdim=True)
    objects = torch.stack([torch.tensor(np.any([each.mask for each in case.scene.truth.things], 0)) for case in beside])
    of_single, _ = _maps(model, single, [(case.text, *case.contradictions) for case in single])
    own = torch.stack([torch.tensor(case.thing.mask) for case in single]).unsqueeze(1)
    wrong = enlarge(of_single[:, 1:], grid, (SIDE, SIDE)) * own
    rows = model.texts([case.text for case in single])
    return {
        "grid": f"{grid[0]} x {grid[1]}",
        "hit": float(grown.flatten(1).gather(1, peaks).float().mean()),
        "chance": float(grown.float().mean()),
        "named": _on_over_beside(large[:, 0], torch.stack([torch.tensor(case.thing.mask) for case in beside])),
        "absent": _on_over_beside(large[:, 1], objects),
        "contradicted": float((wrong.sum((2, 3)) < 0).float().mean()),
        **curves(model, [case.picture for case in single], rows, of_single[:, 0], grid),
    }


def _maps(model: Model, asked: Sequence[Case], texts: Sequence[Sequence[str]]) -> tuple[Tensor, tuple[int, int]]:
    """Maps (n, k, places) of k texts for each scene, and their grid."""
    factors = model.factors_of([case.picture for case in asked])
    rows = model.texts([text for several in texts for text in several]).unflatten(0, (len(texts), -1))
    return maps(factors, rows, model.mean), factors.grid


def _grown(box: tuple[int, int, int, int], reach: Sequence[float]) -> Tensor:
    """Which pixels' centres lie in a box, grown by so many pixels (down, across)."""
    left, top, right, bottom = box
    at = torch.arange(SIDE) + 0.5
    down = (at > top - reach[0]) & (at < bottom + reach[0])
    return down[:, None] & (at > left - reach[1]) & (at < right + reach[1])


def _on_over_beside(large: Tensor, mask: Tensor) -> float:
    """Positive mass for each pixel of a mask, over that for each pixel beside it, both (n, height, width)."""
    positive = large.clamp(min=0)
    return float(positive[mask].mean() / positive[~mask].mean())
