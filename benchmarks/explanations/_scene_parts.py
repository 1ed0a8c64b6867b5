"""Parts of drawn scenes: whether a part's vector tells what is there, and whether the foreground is the object's side.

By their masks it is known which place shows what. The paper marks a part in the picture (a red ellipse; the rest grey; the rest
blurred), embeds all three and takes their mean; here a part's places' factors make its vector, and nothing is embedded again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch.nn.functional import adaptive_avg_pool2d

from benchmarks._common import Bar, table
from benchmarks._parts import Measured
from benchmarks.explanations._models import Model, Picture
from t2c_search.demo import words
from t2c_search.demo.truth import Thing
from t2c_search.demo.world import Scene
from t2c_search.explain.mutual.parts import fiedler_vector

BLUR = 2.0  # pixels: that of a Gaussian kernel of 11
MARGIN = 3  # pixels between a thing and the ellipse about it


def told_parts(models: Mapping[str, Model], scenes: Sequence[Scene]) -> Measured:
    """Whether a part's vector tells what is there: an object's colour and shape, in scenes of several."""
    rows: dict[str, dict[str, Any]] = {}
    things = [(scene, thing) for scene in scenes for thing in scene.truth.things]
    for name, model in models.items():
        ways = {
            "by its places' factors": _by_factors,
            "by the paper's marks": _by_marks,
            "the image's vector": _by_image,
        }
        for way, vector in ways.items():
            about = np.stack([vector(model, scene, thing) for scene, thing in things])
            centre = about.mean(0) if way == "by the paper's marks" else model.mean.numpy()
            rows[f"{name}: {way}"] = _told(about - centre, [thing for _, thing in things], model)
    title = f"{len(things)} objects of {len(scenes)} drawn scenes: the nearest words to their part's vector are right"
    bars = [
        Bar(
            f"{name}: a part is told better by factors than by marks",
            rows[f"{name}: by its places' factors"]["both"] - rows[f"{name}: by the paper's marks"]["both"],
            0.0,
        )
        for name in models
    ]
    return Measured({"parts": rows}, [table(title, rows, ("colour", "shape", "both"))], bars)


def _told(rows: np.ndarray, things: Sequence[Thing], model: Model) -> dict[str, float]:
    colours, shapes = list(words.COLOURS), list(words.SHAPES)
    asked = {
        "colour": ([f"a {colour} object" for colour in colours], [colours.index(thing.colour) for thing in things]),
        "shape": ([f"a {shape}" for shape in shapes], [shapes.index(thing.shape) for thing in things]),
        "both": (
            [f"a {colour} {shape}" for colour in colours for shape in shapes],
            [colours.index(thing.colour) * len(shapes) + shapes.index(thing.shape) for thing in things],
        ),
    }
    return {
        what: float(np.mean((rows @ model.texts(texts).numpy().T).argmax(1) == truth))
        for what, (texts, truth) in asked.items()
    }


def _by_factors(model: Model, scene: Scene, thing: Thing) -> np.ndarray:
    factors = model.factors(model.pixels([partial(Image.fromarray, scene.image)]))
    shares = _shares(thing.mask, factors.grid)
    own = shares >= min(0.5, 0.8 * float(shares.max()))
    parts = factors.parts[0]
    return (factors.vectors[0] + len(parts) * (parts[own].mean(0) - parts.mean(0))).numpy()


def _by_marks(model: Model, scene: Scene, thing: Thing) -> np.ndarray:
    with torch.inference_mode():
        rows = model.rows(model.pixels([partial(_as_it_is, each) for each in marked(scene, thing)]))
    return rows.mean(0).numpy()


def _by_image(model: Model, scene: Scene, thing: Thing) -> np.ndarray:
    with torch.inference_mode():
        return model.rows(model.pixels([partial(Image.fromarray, scene.image)]))[0].numpy()


def _as_it_is(picture: Image.Image) -> Image.Image:
    return picture


def marked(scene: Scene, thing: Thing) -> list[Image.Image]:
    """The paper's three pictures of a part: a red ellipse about it; and grey, or blurred, all that lies outside of it."""
    picture = Image.fromarray(scene.image)
    left, top, right, bottom = thing.box
    width, height = picture.size
    box = (
        max(left - MARGIN, 0),
        max(top - MARGIN, 0),
        min(right + MARGIN, width) - 1,
        min(bottom + MARGIN, height) - 1,
    )
    inside = Image.new("L", picture.size)
    ImageDraw.Draw(inside).ellipse(box, fill=255)
    grounds = (picture, picture.convert("L").convert("RGB"), picture.filter(ImageFilter.GaussianBlur(BLUR)))
    made = [Image.composite(picture, ground, inside) for ground in grounds]
    for each in made:
        ImageDraw.Draw(each).ellipse(box, outline=(255, 0, 0))
    return made


def _shares(mask: np.ndarray, grid: tuple[int, int]) -> torch.Tensor:
    """How much of each place a mask covers, (places,)."""
    return adaptive_avg_pool2d(torch.tensor(mask, dtype=torch.float32)[None, None], grid).flatten()


Rule = Callable[[np.ndarray, np.ndarray, tuple[int, int]], np.ndarray]
"""Features (places, d), their Fiedler vector and the grid -> for each place, what the foreground's have more of."""


def _inner(features: np.ndarray, vector: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    inner = np.zeros(grid)
    inner[1:-1, 1:-1] = 1
    return inner.ravel()


def _few(features: np.ndarray, vector: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    return np.where(vector > 0, -(vector > 0).sum(), -(vector <= 0).sum())


def _extreme(features: np.ndarray, vector: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    return np.where((vector > 0) == (vector > 0)[np.abs(vector).argmax()], 1, 0)


RULES: dict[str, Rule] = {
    "unlike the mean (ours)": lambda features, vector, grid: ((features - features.mean(0)) ** 2).sum(1),
    "longer features": lambda features, vector, grid: np.linalg.norm(features, axis=1),
    "away from the border": _inner,
    "the smaller": _few,
    "the vector's extreme": _extreme,
}


def right_sides(model: Model, pictures: Sequence[Picture], masks: Sequence[np.ndarray]) -> dict[str, float]:
    """How often each rule takes that side of the cut for the foreground that has more of the thing."""
    right: dict[str, list[bool]] = {rule: [] for rule in RULES}
    for picture, mask in zip(pictures, masks, strict=True):
        features, grid = features_of(model, picture)
        vector, shares = fiedler_vector(features), _shares(mask, grid).numpy()
        side = vector > 0
        if side.all() or not side.any():
            continue
        true = shares[side].mean() > shares[~side].mean()
        for rule, worth in RULES.items():
            values = worth(features, vector, grid)
            right[rule].append(bool(true == (values[side].mean() > values[~side].mean())))
    return {rule: float(np.mean(each)) for rule, each in right.items()}


def features_of(model: Model, picture: Picture) -> tuple[np.ndarray, tuple[int, int]]:
    with torch.inference_mode():
        map = model.encoder.feature_map(model.pixels([picture]))
    return map.values[0, -map.grid[0] * map.grid[1] :].numpy(), map.grid


def foregrounds(models: Mapping[str, Model], scenes: Sequence[Scene]) -> Measured:
    """Which rule takes the right side of the cut for the foreground, in scenes of one object."""
    pictures: list[Picture] = [partial(Image.fromarray, scene.image) for scene in scenes]
    masks = [scene.truth.things[0].mask for scene in scenes]
    rows = {f"{name}, drawn": right_sides(model, pictures, masks) for name, model in models.items()}
    shown = table(f"the right side is the foreground: {len(scenes)} drawn scenes of one object", rows, list(RULES))
    bars = [
        Bar(f"{name}: the foreground is the object's side", each["unlike the mean (ours)"], 0.8)
        for name, each in rows.items()
    ]
    return Measured({"foregrounds": rows}, [shown], bars)
