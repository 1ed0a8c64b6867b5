"""In drawn scenes, whose objects' places are known, the mini CLIP's maps lie on what their texts name."""

from __future__ import annotations

from functools import cache

import torch
from PIL import Image

from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.methods import place_factors
from t2c_search.demo.truth import Thing
from t2c_search.demo.words import with_article
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders.pool import default_pool
from t2c_search.explain.maps import contested, maps

SIDE = 96


@cache
def known() -> tuple[list[Scene], PlaceFactors]:
    """Scenes of two objects, of different shapes and colours, and their factors."""
    clip = default_pool().load("mini")
    scenes = [scene for scene in draw(41, 150) if len(scene.truth.things) == 2]
    scenes = [scene for scene in scenes if _differ(*scene.truth.things)][:30]
    prepared = torch.stack([clip.prepare(Image.fromarray(scene.image)) for scene in scenes])
    return scenes, place_factors(clip, None, clip.normalise(prepared))


def _differ(one: Thing, other: Thing) -> bool:
    return one.shape != other.shape and one.colour != other.colour


def mapped(texts: list[list[str]]) -> torch.Tensor:
    """The maps (scenes, k, places) of k texts for each scene."""
    _, factors = known()
    rows = default_pool().load("mini").encode_texts([text for several in texts for text in several])
    return maps(factors, rows.unflatten(0, (len(texts), -1)), factors.vectors.mean(0))


def lies_on(place: int, thing: Thing) -> bool:
    """Whether the centre of a place is in an object's box, grown by half a place."""
    rows, columns = known()[1].grid
    y, x = (place // columns + 0.5) * SIDE / rows, (place % columns + 0.5) * SIDE / columns
    left, top, right, bottom = thing.box
    down, across = SIDE / rows / 2, SIDE / columns / 2
    return left - across < x < right + across and top - down < y < bottom + down


def named(thing: Thing) -> str:
    return with_article(f"{thing.colour} {thing.shape}")


def test_maps_peak_on_what_is_named() -> None:
    scenes, _ = known()
    things = [scene.truth.things[0] for scene in scenes]
    peaks = mapped([[named(thing)] for thing in things])[:, 0].argmax(1).tolist()
    assert sum(map(lies_on, peaks, things)) >= 0.9 * len(scenes)


def test_what_is_not_there_has_negative_mass() -> None:
    scenes, _ = known()
    shapes = {
        shape: [shape not in {thing.shape for thing in scene.truth.things} for scene in scenes]
        for shape in ("ring", "heart")
    }
    masses = mapped([[with_article(shape) for shape in shapes]] * len(scenes)).sum(2).T
    missing = torch.tensor(list(shapes.values()))
    assert (masses[missing] < 0).float().mean() >= 0.9
    assert (masses[~missing] > 0).float().mean() >= 0.9


def test_claims_of_two_objects_lie_on_their_own() -> None:
    scenes, _ = known()
    found = mapped([[named(thing) for thing in scene.truth.things] for scene in scenes])
    inside = torch.tensor(
        [[[lies_on(at, thing) for at in range(found.shape[2])] for thing in s.truth.things] for s in scenes]
    )

    def on_the_other(each: torch.Tensor) -> float:
        """Positive mass that lies on the other object alone, as a part of all of it."""
        positive = each.clamp(min=0)
        return float((positive * (inside.flip(1) & ~inside)).sum() / positive.sum())

    assert on_the_other(contested(found)) < on_the_other(found) / 2
