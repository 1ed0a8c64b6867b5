"""The drawn world: scenes of 96 x 96 pixels whose truth is known to the pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from t2c_search.demo import words
from t2c_search.demo.backgrounds import COLUMNS, ROWS, SIDE, paint
from t2c_search.demo.dice import Dice
from t2c_search.demo.shapes import INSIDE, OUTLINE, STEPS, SUB, IntArray, cut
from t2c_search.demo.truth import Thing, Truth

PAINTS = {
    "red": (214, 32, 34),
    "orange": (246, 134, 22),
    "yellow": (248, 222, 42),
    "green": (36, 164, 60),
    "blue": (34, 72, 214),
    "purple": (128, 44, 172),
    "pink": (250, 130, 186),
    "white": (246, 246, 244),
}
RADII = {
    "small": (54, 66),
    "medium": (78, 87),
    "large": (99, 117),
}  # 1/6 pixels; gaps, so that a size is no matter of taste
SAMPLES = SUB * SUB  # per pixel
TRIES = 40  # places tried for an object before it is made small


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One drawn image, uint8, with its truth: a scene is (96, 96, 3), a close-up (64, 64, 3) or (48, 48, 3).

    ``seed`` and ``index`` draw it again, with the function that drew it.
    """

    seed: int
    index: int
    image: npt.NDArray[np.uint8]
    truth: Truth


def draw(seed: int, n: int) -> Iterator[Scene]:
    """Draw ``n`` scenes of a seed, one by one; scene i depends on (seed, i) alone and is the same on every machine."""
    return (draw_one(seed, index) for index in range(n))


def draw_one(seed: int, index: int) -> Scene:
    """Draw scene ``index`` of a seed."""
    dice = Dice(seed, index)
    background = dice.choice(list(words.BACKGROUNDS))
    canvas = paint(background, dice)
    things = tuple(_draw_thing(canvas, window, size, _looks(dice), dice) for window, size in _arrange(dice))
    return Scene(seed, index, _photograph(canvas, dice), Truth(background, things))


def close_ups(seed: int, n: int) -> Iterator[Scene]:
    """Draw ``n`` close-ups of a seed: 64 x 64 pixels about one object, with their truth."""
    for index in range(n):
        dice = Dice(seed, index, 2)
        yield _close_up(seed, index, _looks(dice), 64, dice)


def shots(seed: int, n: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Draw ``n`` pairs of frames, (2, 48, 48, 3) uint8 each, as of a silent film about one object; nothing tells which.

    Between them place, size, angle, background, light and camera change; shape, colour and pattern stay.
    """
    for index in range(n):
        dice = Dice(seed, index, 3)
        looks = _looks(dice)
        yield np.stack([_close_up(seed, index, looks, 48, dice).image for _ in range(2)])


def films(seed: int, n: int) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Draw ``n`` silent films of a seed: a wide shot, (96, 96, 3) uint8, then close-ups, (k + 1, 48, 48, 3), of what it shows.

    There is one close-up of each of the k objects, elsewhere and in another light as in ``shots``, and one of the background.
    """
    for index in range(n):
        dice = Dice(seed, index, 4)
        scene = draw_one(seed, index)
        looks = [(thing.shape, thing.colour, thing.fill) for thing in scene.truth.things]
        close = [_close_up(seed, index, each, 48, dice).image for each in looks]
        bare = _photograph(paint(scene.truth.background, dice), dice)
        left, top = dice.between(0, SIDE - 48), dice.between(0, SIDE - 48)
        yield scene.image, np.stack([*close, bare[top : top + 48, left : left + 48]])


def _close_up(seed: int, index: int, looks: tuple[str, str, str], side: int, dice: Dice) -> Scene:
    """Draw a scene with one object and cut ``side`` x ``side`` pixels about it out."""
    background, size = dice.choice(list(words.BACKGROUNDS)), dice.choice(list(RADII))
    canvas, radius = paint(background, dice), dice.between(*RADII[size])
    reach = -(-radius // STEPS) + 1
    x, y = dice.between(reach, SIDE - reach), dice.between(reach, SIDE - reach)
    thing = _draw_thing(canvas, (x, y, radius), size, looks, dice)
    left, top = (min(max(place + dice.between(-6, 6) - side // 2, 0), SIDE - side) for place in (x, y))
    window = np.s_[top : top + side, left : left + side]
    mask = thing.mask[window]
    return Scene(
        seed, index, _photograph(canvas, dice)[window], Truth(background, (replace(thing, mask=mask, box=_box(mask)),))
    )


def _box(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1


def _looks(dice: Dice) -> tuple[str, str, str]:
    """Choose a shape, a colour and a fill."""
    shape, colour, fill = (dice.choice(list(names)) for names in (words.SHAPES, words.COLOURS, words.FILLS))
    return shape, colour, fill


def _arrange(dice: Dice) -> list[tuple[tuple[int, int, int], str]]:
    """Choose (x, y, radius) in pixels, pixels and 1/6 pixels, with the size's name, so that no two objects touch."""
    placed: list[tuple[tuple[int, int, int], str]] = []
    for _ in range(dice.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 4))):
        size = dice.choice(("small", "medium", "large"))
        for attempt in range(4 * TRIES):
            if attempt >= TRIES:
                size = "small"
            radius = dice.between(*RADII[size])
            reach = -(-radius // STEPS) + 1
            x, y = dice.between(reach, SIDE - reach), dice.between(reach, SIDE - reach)
            if all((x - u) ** 2 + (y - v) ** 2 > (reach - (-r // STEPS) + 2) ** 2 for (u, v, r), _ in placed):
                placed.append(((x, y, radius), size))
                break
    return placed


def _draw_thing(
    canvas: IntArray, window: tuple[int, int, int], size: str, looks: tuple[str, str, str], dice: Dice
) -> Thing:
    """Draw one object into the canvas, in place."""
    shape, colour, fill = looks
    x, y, radius = window
    levels, along, across = cut(shape, radius, dice.between(-18, 18))
    marks = _marks(fill, along, across, dice)
    body = np.array([channel + dice.between(-16, 16) for channel in PAINTS[colour]], np.int32)
    mark = body + (255 - body) * 3 // 4 if colour != "white" and dice.chance(50) else body * 3 // 8
    edge = body * dice.between(35, 60) // 100

    def coverage(samples: npt.NDArray[np.bool_]) -> IntArray:
        side = len(samples) // SUB
        return np.asarray(samples.reshape(side, SUB, side, SUB).sum((1, 3), dtype=np.int32)[:, :, None])

    inside = levels == INSIDE
    outline, marked, plain = coverage(levels == OUTLINE), coverage(inside & marks), coverage(inside & ~marks)
    free = SAMPLES - outline - marked - plain
    half = len(free) // 2
    patch = canvas[y - half : y + half, x - half : x + half]
    patch[:] = (patch * free + edge * outline + mark * marked + body * plain) // SAMPLES
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y - half : y + half, x - half : x + half] = free[:, :, 0] * 2 < SAMPLES
    return Thing(shape, colour, fill, size, _box(mask), mask)


def _marks(fill: str, along: IntArray, across: IntArray, dice: Dice) -> npt.NDArray[np.bool_]:
    """Where the stripes or dots of an object are."""
    if fill == "striped":
        place, wide = (along if dice.chance(50) else across), dice.between(14, 18)
        return np.asarray(place // wide % 2 == 0)
    if fill == "dotted":
        pitch = dice.between(32, 38)
        u, v = along % pitch - pitch // 2, across % pitch - pitch // 2
        return np.asarray(u * u + v * v < (pitch * pitch) // 9)
    return np.zeros_like(along, bool)


def _photograph(canvas: IntArray, dice: Dice) -> npt.NDArray[np.uint8]:
    """Blur some scenes, light them unevenly, tint them and add noise: (96, 96, 3) uint8."""
    if dice.chance(40):
        padded = np.pad(canvas, ((1, 1), (1, 1), (0, 0)), mode="edge")
        rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
        canvas = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) >> 4
    slope = COLUMNS * dice.between(-24, 24) + ROWS * dice.between(-24, 24)  # of 1024, per pixel
    light = (dice.between(760, 1120) + ((slope - int(slope.mean())) >> 3))[:, :, None]
    tint = np.array([dice.between(970, 1054) for _ in range(3)], np.int32)
    lit = (canvas * light >> 10) * tint >> 10
    strength = dice.between(2, 22)
    noise = (dice.field(SIDE, SIDE, 3) + dice.field(SIDE, SIDE, 3) - 255) * strength >> 8
    return np.clip(lit + noise, 0, 255).astype(np.uint8)
