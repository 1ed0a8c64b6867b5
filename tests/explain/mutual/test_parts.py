"""Fiedler vectors against an independent solver, foregrounds of planted and drawn pictures, and parts that look alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import eigh
from scipy.ndimage import label
from scipy.sparse.csgraph import laplacian
from torch.nn.functional import adaptive_avg_pool2d

from t2c_search.demo import words
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.explain.mutual.looking import look
from t2c_search.explain.mutual.parts import divide, fiedler_vector, foreground

ASIDE = 4711  # no recipe's seed


@pytest.mark.parametrize("seed", range(5))
def test_the_fiedler_vector_is_that_of_the_generalised_problem(seed: int) -> None:
    features = np.abs(np.random.default_rng(seed).normal(size=(30, 8))).astype(np.float32)
    affinity = features.astype(np.float64) @ features.T.astype(np.float64)
    np.fill_diagonal(without := affinity.copy(), 0)
    _, vectors = eigh(laplacian(without), np.diag(affinity.sum(1)))  # a place's affinity with itself cuts nothing
    wanted, found = vectors[:, 1], fiedler_vector(features)
    assert abs(wanted @ found) == pytest.approx(np.linalg.norm(wanted) * np.linalg.norm(found), rel=1e-6)


def picture(inside: np.ndarray, seed: int) -> np.ndarray:
    """Features of a grid (rows, columns, d) that differ inside and outside, with noise."""
    rng = np.random.default_rng(seed)
    kinds = np.abs(rng.normal(size=(2, 16)))
    return (kinds[inside.astype(int)] + 0.1 * rng.normal(size=(*inside.shape, 16))).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_the_foreground_is_the_planted_thing(seed: int) -> None:
    inside = np.zeros((9, 7), bool)
    inside[2:6, 2:5] = True
    features = picture(inside, seed).reshape(-1, 16)
    np.testing.assert_array_equal(foreground(features, (9, 7)), inside.ravel())


def test_of_several_things_the_largest_is_the_foreground() -> None:
    inside = np.zeros((8, 8), bool)
    inside[0:2, 0:2] = inside[4:7, 3:8] = True
    found = foreground(picture(inside, 1).reshape(-1, 16), (8, 8)).reshape(8, 8)
    assert found[4:7, 3:8].all() and found.sum() == 15
    assert label(found)[1] == 1


@pytest.mark.parametrize("features", [np.ones((1, 4)), np.ones((9, 4)), np.zeros((9, 4))], ids=["one", "flat", "blank"])
def test_a_picture_without_a_cut_has_a_foreground_all_the_same(features: np.ndarray) -> None:
    side = int(len(features) ** 0.5)
    found = foreground(features.astype(np.float32), (side, side))
    assert found.any() and found.shape == (len(features),)


@pytest.mark.parametrize("name", ["mini:vit", "mini:cnn", "mini"])
def test_in_most_drawn_scenes_the_foreground_has_the_object(name: str) -> None:
    encoder = registry.load_image_encoder(name)
    scenes = [scene for scene in draw(ASIDE, 100) if len(scene.truth.things) == 1][:25]
    found = []
    for scene in scenes:
        (seen,) = look(encoder, None, encoder.normalise(encoder.prepare(Image.fromarray(scene.image)).unsqueeze(0)))
        mask = torch.from_numpy(scene.truth.things[0].mask).float()
        share = adaptive_avg_pool2d(mask[None, None], seen.grid).flatten().numpy()
        found.append(seen.shown[share.argmax()] and seen.shown.mean() < 0.7)
        assert len(seen.features) == len(seen.rows) == seen.shown.sum()
    assert np.mean(found) >= 0.8, f"{np.mean(found):.0%}"


def test_a_place_s_row_tells_the_thing_that_is_there_where_the_image_s_vector_tells_several() -> None:
    encoder = registry.load("mini")
    colours, shapes = list(words.COLOURS), list(words.SHAPES)
    texts = encoder.encode_texts([f"a {colour} {shape}" for colour in colours for shape in shapes]).numpy()
    scenes = [scene for scene in draw(ASIDE, 60) if len(scene.truth.things) == 2][:12]
    rows, vectors, truth = [], [], []
    for scene in scenes:
        (seen,) = look(encoder, None, encoder.normalise(encoder.prepare(Image.fromarray(scene.image)).unsqueeze(0)))
        for thing in scene.truth.things:
            share = adaptive_avg_pool2d(torch.from_numpy(thing.mask).float()[None, None], seen.grid).flatten().numpy()
            if seen.shown[share.argmax()]:
                rows.append(seen.part_rows((share[seen.shown] < share.max()).astype(np.intp))[0])
                vectors.append(seen.vector)
                truth.append(colours.index(thing.colour) * len(shapes) + shapes.index(thing.shape))
    mean = np.mean(vectors, axis=0)
    by_place, by_image = (((np.array(each) - mean) @ texts.T).argmax(1) for each in (rows, vectors))
    assert len(truth) >= 12
    assert np.mean(by_place == truth) > np.mean(by_image == truth) + 0.15


def test_images_are_divided_into_the_same_parts() -> None:
    rng = np.random.default_rng(3)
    kinds = rng.normal(size=(3, 12))
    truth = [rng.integers(0, 3, size) for size in (20, 35, 5)]
    features = [(kinds[each] + 0.05 * rng.normal(size=(len(each), 12))).astype(np.float32) for each in truth]
    found = divide(features, 3)
    assert [len(each) for each in found] == [20, 35, 5]
    pairs = set(zip(np.concatenate(truth).tolist(), np.concatenate(found).tolist(), strict=True))
    assert len(pairs) == 3  # one part for each kind, whichever image it is in
    assert [each.tolist() for each in divide([np.ones((4, 2), np.float32)], 5)] == [[0, 0, 0, 0]]
