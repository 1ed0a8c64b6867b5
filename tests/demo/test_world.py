"""The drawn world: the same bytes everywhere, and a truth that the pixels bear out."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2c_search.demo import words
from t2c_search.demo.captions import captions
from t2c_search.demo.shapes import cut
from t2c_search.demo.world import PAINTS, Scene, draw, draw_one
from t2c_search.errors import UsageError


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(draw(5, 300))


def test_a_seed_names_the_same_bytes_on_every_machine() -> None:
    """Golden: computed once with this module; drawing uses integers only, so no machine may differ."""
    digest = hashlib.sha256()
    for scene in draw(2024, 50):
        digest.update(scene.image.tobytes())
        for thing in scene.truth.things:
            digest.update(f"{thing.shape} {thing.colour} {thing.fill} {thing.size} {thing.box}".encode())
            digest.update(np.packbits(thing.mask).tobytes())
        digest.update("|".join(captions(scene, 4)).encode())
    assert digest.hexdigest() == "44c1587ee62196a3db0dbef77b6050dbd7721281a8ea2f402a69f0f4f1fc020a"


@given(index=st.integers(0, 10_000), seed=st.integers(0, 2**63))
@settings(max_examples=20, deadline=None)
def test_a_scene_depends_on_its_seed_and_index_alone(seed: int, index: int) -> None:
    first, again = draw_one(seed, index), draw_one(seed, index)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, draw_one(seed, index + 1).image)
    assert not np.array_equal(first.image, draw_one(seed + 1, index).image)


def test_draw_yields_the_scenes_of_draw_one_whatever_n() -> None:
    assert [s.image.tobytes() for s in draw(9, 3)] == [draw_one(9, i).image.tobytes() for i in range(3)]


def test_every_word_of_the_world_occurs(scenes: list[Scene]) -> None:
    things = [thing for scene in scenes for thing in scene.truth.things]
    assert {thing.shape for thing in things} == set(words.SHAPES)
    assert {thing.colour for thing in things} == set(words.COLOURS)
    assert {thing.fill for thing in things} == set(words.FILLS)
    assert {thing.size for thing in things} == set(words.SIZES)
    assert {scene.truth.background for scene in scenes} == set(words.BACKGROUNDS)
    assert {len(scene.truth.things) for scene in scenes} == {1, 2, 3, 4}


def test_masks_are_disjoint_and_fill_their_boxes(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (96, 96, 3)
        assert scene.image.dtype == np.uint8
        assert sum(thing.mask.astype(int) for thing in scene.truth.things).max() == 1
        for thing in scene.truth.things:
            left, top, right, bottom = thing.box
            down, across = np.nonzero(thing.mask)
            assert (across.min(), down.min(), across.max() + 1, down.max() + 1) == (left, top, right, bottom)


def test_the_pixels_under_a_mask_have_the_colour_that_the_truth_names(scenes: list[Scene]) -> None:
    """Nearest named colour of a plain object's brightest half, compared by direction since light changes the length."""
    names = list(PAINTS)
    paints = np.array([PAINTS[name] for name in names], float)
    right = total = 0
    for scene in scenes:
        for thing in scene.truth.things:
            if thing.fill == "plain" and thing.size != "small":
                pixels = scene.image[thing.mask].astype(float)
                body = pixels[pixels.sum(1) >= np.median(pixels.sum(1))].mean(0)
                cosines = paints @ body / np.linalg.norm(paints, axis=1) / np.linalg.norm(body)
                right += names[int(cosines.argmax())] == thing.colour
                total += 1
    assert total > 50
    assert right / total > 0.95


def test_backgrounds_differ_outside_the_masks(scenes: list[Scene]) -> None:
    """Leave-one-out nearest class mean of colour and roughness tells backgrounds apart far above chance (1 in 8)."""
    rows, labels = [], []
    for scene in scenes:
        free = ~np.any([thing.mask for thing in scene.truth.things], axis=0)
        pixels = scene.image[free].astype(float)
        rows.append([*pixels.mean(0) / pixels.mean(), *pixels.std(0) / 50, pixels.mean() / 100])
        labels.append(scene.truth.background)
    features, names = np.array(rows), np.array(labels)
    correct = 0
    for i, name in enumerate(names):
        others = np.arange(len(names)) != i
        means = {b: features[others & (names == b)].mean(0) for b in words.BACKGROUNDS}
        correct += min(means, key=lambda b: float(np.linalg.norm(means[b] - features[i]))) == name
    assert correct / len(names) > 0.8


def test_pixels_alone_are_no_answer(scenes: list[Scene]) -> None:
    """The nearest neighbour in pixels shares an object's shape no more often than a random scene, give or take."""
    flat = np.stack([scene.image[::4, ::4].reshape(-1) for scene in scenes]).astype(np.float32)
    distances = ((flat[:, None] - flat[None]) ** 2).sum(2)
    np.fill_diagonal(distances, np.inf)
    shapes = [{thing.shape for thing in scene.truth.things} for scene in scenes]
    near = np.mean([bool(shapes[i] & shapes[int(j)]) for i, j in enumerate(distances.argmin(1))])
    chance = np.mean([bool(a & b) for a in shapes for b in shapes if a is not b])
    assert near < chance + 0.12


def test_a_shape_keeps_its_area_when_turned() -> None:
    for shape in words.SHAPES:
        areas = [int((cut(shape, 90, angle)[0] > 0).sum()) for angle in (0, 30, 77, 180)]
        assert max(areas) - min(areas) < 0.04 * max(areas), shape


def test_captions_are_true_varied_and_repeatable(scenes: list[Scene]) -> None:
    said = [captions(scene, 8) for scene in scenes]
    assert all(scene.truth.matches_text(text) for scene, texts in zip(scenes, said, strict=True) for text in texts)
    assert said == [captions(scene, 8) for scene in scenes]
    together = [text for texts in said for text in texts]
    assert len(set(together)) > len(together) // 2
    spoken = {word for text in together for word in text.split()}
    assert {"crimson", "disc", "stripy", "tiny", "hoop", "above"} <= spoken


def test_an_unknown_word_is_a_clear_error(scenes: list[Scene]) -> None:
    truth = scenes[0].truth
    with pytest.raises(UsageError, match="'dog'.*no shape.*circle"):
        truth.matches_text("a red dog")
    with pytest.raises(UsageError, match="'furry'"):
        truth.matches_text("a furry circle")
    with pytest.raises(UsageError, match="empty phrase"):
        truth.matches_text("  ")
