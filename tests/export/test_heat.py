"""Heat lies over the part of an image that its map is of, in colours and outlines that tell for from against in any print."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from t2c_search.explain.view import WHOLE, View
from t2c_search.export.explaining.heat import AGAINST, FOR, Heat, heated, rgb, tint

PLAIN = Image.new("RGB", (120, 80), "#808080")


def heat(values: npt.ArrayLike, view: View = WHOLE, scale: float = 1.0) -> Heat:
    told = np.array(values, np.float32)
    return Heat(told, view, scale, told)


def warmth(values: list[list[float]], view: View = WHOLE, size: tuple[int, int] = PLAIN.size) -> np.ndarray:
    """How much more red than blue the pixels are: above 0 where something speaks for a hit, below where against it."""
    shown = np.asarray(heated(PLAIN.resize(size), heat(values, view)), np.int16)
    return shown[..., 0] - shown[..., 2]


def test_colours_lie_over_their_places() -> None:
    found = warmth([[1, 0, 0], [0, 0, -1]])
    assert found[10, 10] > 60
    assert found[70, 110] < -60
    assert abs(found[70, 10]) < 3
    assert np.unravel_index(found.argmax(), found.shape) < (40, 40)


def test_a_crop_lies_over_its_part_and_what_was_not_seen_is_pale_and_grey() -> None:
    view = View(0.25, 0.0, 0.75, 1.0)
    found = warmth([[1, 1], [1, 1]], view)
    assert (found[:, 32:88] > 60).all()
    assert not found[:, :28].any()
    assert not found[:, 92:].any()
    shown = np.asarray(heated(PLAIN, heat(np.zeros((2, 2)), view)))
    assert shown[40, 10, 0] > shown[40, 60, 0] + 20


def test_padding_beyond_the_image_is_cut_off() -> None:
    found = warmth([[1, 0], *[[0, 0]] * 6, [0, -1]], View(0, -0.5, 1, 1.5))
    assert not found.any()  # both strong places lie beyond
    found = warmth([[0, 0], [1, 0], [0, 0], [0, 0]], View(0, -0.5, 1, 1.5))
    assert np.unravel_index(found.argmax(), found.shape)[0] < 40


def test_a_map_of_nothing_leaves_the_grey_image() -> None:
    assert not warmth([[0, 0], [0, 0]]).any()
    assert not warmth([[0.03, -0.03], [0, 0]]).any()


def test_print_without_colours_tells_for_from_against() -> None:
    for paper in ("#202020", "#808080", "#f0f0f0"):
        image = Image.new("RGB", (120, 80), paper)
        shown = heated(image, heat([[1, 1, 0, -1, -1]])).convert("L")
        assert np.asarray(shown)[40, 10] > np.asarray(shown)[40, 110] + 40


def test_outlines_are_drawn_through_for_and_dashed_against() -> None:
    image = Image.new("RGB", (240, 160), "#808080")
    lines = []
    for sign in (1, -1):
        values = np.zeros((4, 6), np.float32)
        values[1:3, 2:4] = sign
        shown = np.asarray(heated(image, heat(values)).convert("L"), np.int16)
        smooth = np.asarray(heated(image, heat(values, scale=2.1)).convert("L"), np.int16)  # nothing reaches an outline
        step = np.abs(np.diff(shown, axis=1)) > np.abs(np.diff(smooth, axis=1)).max() + 12
        lines.append(int(step.sum()))
    assert lines[0] > 1.4 * lines[1] > 0


@pytest.mark.parametrize(("share", "colour"), [(1, FOR), (-1, AGAINST)])
def test_words_have_the_colours_of_maps(share: int, colour: str) -> None:
    assert np.abs(rgb(tint(share)) - rgb(colour)).max() < 0.11
    assert tint(0.0) == "#ffffff"
    assert tint(2.0 * share) == tint(share)


def test_what_is_claimed_is_outlined_and_what_speaks_against() -> None:
    image = Image.new("RGB", (240, 160), "#808080")
    values, claim = np.zeros((2, 4, 6), np.float32)
    values[1:3, 1:5], claim[1:3, 1:3] = 1, 1
    with_all, with_claim, with_none = (
        np.asarray(heated(image, Heat(values, WHOLE, 1.0, each)), np.int16) for each in (values, claim, 0 * claim)
    )
    left, right = np.s_[:, :120], np.s_[:, 130:]
    assert (with_claim[left] != with_none[left]).any()
    assert (with_claim[right] == with_none[right]).all()
    assert (with_all[right] != with_none[right]).any()
