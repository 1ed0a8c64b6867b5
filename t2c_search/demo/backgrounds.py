"""The eight backgrounds, each a texture drawn anew for every scene, in integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from t2c_search.demo.dice import Dice
from t2c_search.demo.shapes import IntArray

SIDE = 96
ROWS = np.arange(SIDE, dtype=np.int32)[:, None]
COLUMNS = np.arange(SIDE, dtype=np.int32)[None, :]


def _weights(cells: int) -> IntArray:
    """Linear interpolation from ``cells + 1`` knots to SIDE pixels, (SIDE, cells + 1), rows sum to 16."""
    step = SIDE // cells
    place = np.arange(SIDE) // step
    part = np.arange(SIDE) % step * 16 // step
    weights = np.zeros((SIDE, cells + 1), np.int32)
    weights[np.arange(SIDE), place] = 16 - part
    weights[np.arange(SIDE), place + 1] += part
    return weights.astype(np.int32)


WEIGHTS = {cells: _weights(cells) for cells in (3, 6, 12, 24, 48)}


def _clouds(dice: Dice, down: int, across: int) -> IntArray:
    """Smooth noise in [0, 255] with ``down`` x ``across`` cells, (SIDE, SIDE)."""
    knots = dice.field(down + 1, across + 1)
    return np.asarray(WEIGHTS[down] @ knots @ WEIGHTS[across].T >> 8, dtype=np.int32)


def _tint(level: IntArray, dark: tuple[int, int, int], light: tuple[int, int, int]) -> IntArray:
    """Colours between ``dark`` (level 0) and ``light`` (level 255), (SIDE, SIDE, 3)."""
    low, high = np.array(dark, np.int32), np.array(light, np.int32)
    return low + (level[:, :, None] * (high - low) >> 8)


def _grass(dice: Dice) -> IntArray:
    blades = np.repeat(dice.field(16, SIDE), 6, axis=0)
    return _tint((_clouds(dice, 6, 6) + blades) >> 1, (30, 78, 22), (125, 178, 62))


def _sky(dice: Dice) -> IntArray:
    clear = _tint(np.broadcast_to(ROWS * 255 // SIDE, (SIDE, SIDE)), (62, 128, 222), (168, 208, 246))
    cover = np.clip((_clouds(dice, 3, 3) + _clouds(dice, 12, 6)) // 2 * 3 - dice.between(300, 460), 0, 220)
    return np.asarray(clear + ((250 - clear) * cover[:, :, None] >> 8))


def _sand(dice: Dice) -> IntArray:
    wave = (ROWS * 40 + _clouds(dice, 6, 3)) % dice.between(280, 420)
    return _tint(np.clip(wave // 4 + _clouds(dice, 48, 48) // 2 + 40, 0, 255), (186, 152, 98), (240, 216, 166))


def _night(dice: Dice) -> IntArray:
    dark = _tint(_clouds(dice, 3, 3), (6, 8, 24), (32, 34, 74))
    for _ in range(dice.between(25, 60)):
        dark[dice.between(0, SIDE - 1), dice.between(0, SIDE - 1)] += dice.between(90, 200)
    return dark


def _snow(dice: Dice) -> IntArray:
    return _tint((_clouds(dice, 3, 6) * 3 + _clouds(dice, 48, 48)) >> 2, (188, 204, 228), (252, 253, 255))


def _water(dice: Dice) -> IntArray:
    level = (_clouds(dice, 24, 3) * 2 + _clouds(dice, 12, 6) + _clouds(dice, 48, 12)) >> 2
    return _tint(np.clip((level - 64) * 2, 0, 255), (10, 62, 104), (92, 178, 196))


def _brick(dice: Dice) -> IntArray:
    high, long = dice.between(8, 11), dice.between(18, 24)
    rows = ROWS + dice.between(0, high - 1)
    course = rows // high
    columns = COLUMNS + dice.between(0, long - 1) + course % 2 * (long // 2)
    tones = dice.field(16, 12)[course, columns // long]
    wall = _tint((tones * 2 + _clouds(dice, 48, 48)) // 3, (112, 42, 28), (190, 96, 70))
    mortar = (rows % high < 2) | (columns % long < 2)
    return np.where(mortar[:, :, None], np.int32(176), wall)


def _wood(dice: Dice) -> IntArray:
    wide = dice.between(18, 30)
    places = COLUMNS + dice.between(0, wide - 1)
    level = (dice.field(8)[places // wide] + _clouds(dice, 3, 48) * 3) >> 2
    board = _tint(level, (82, 48, 22), (178, 124, 72))
    return np.where((places % wide == 0)[:, :, None], board >> 1, board)


PAINTERS: dict[str, Callable[[Dice], IntArray]] = {
    "grass": _grass,
    "sky": _sky,
    "sand": _sand,
    "night": _night,
    "snow": _snow,
    "water": _water,
    "brick": _brick,
    "wood": _wood,
}


def paint(background: str, dice: Dice) -> IntArray:
    """One background, (96, 96, 3) int32 in about [0, 255]."""
    return PAINTERS[background](dice)
