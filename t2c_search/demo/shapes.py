"""The ten shapes as integer bitmaps, and the cutting of one object out of them at any place, size and angle."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]

HALF = 128  # template cells from its centre to its border
REACH = 120  # template cells that an object's radius spans; the rest is an empty margin
ONE = 4096  # fixed-point 1 of sines and cosines
TURN = 360
SUB = 3  # samples per pixel and axis
STEPS = 2 * SUB  # fixed-point units per pixel, so that sample centres are odd integers
EDGE = 13  # template cells of outline
OUTSIDE, OUTLINE, INSIDE = 0, 1, 2

# Rounding hides the last-bit differences between machines' sines.
SINE = [round(ONE * math.sin(math.radians(angle))) for angle in range(TURN)]


def _polygon(*corners: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Even-odd interior of a polygon given in percent of the radius, x right and y down, on the template grid."""
    y, x = np.mgrid[-HALF:HALF, -HALF:HALF] * 200 + 100  # in 1/200 cells: never exactly on a corner
    points = [(px * REACH * 2, py * REACH * 2) for px, py in corners]
    inside = np.zeros((2 * HALF, 2 * HALF), bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 == y1:
            continue
        if y0 > y1:
            (x0, y0), (x1, y1) = (x1, y1), (x0, y0)
        crosses = (y0 <= y) & (y < y1) & ((x - x0) * (y1 - y0) < (x1 - x0) * (y - y0))
        inside ^= crosses
    return inside


def _disc(cx: int, cy: int, radius: int) -> npt.NDArray[np.bool_]:
    """Disc with centre and radius in percent of the object's radius."""
    y, x = np.mgrid[-HALF:HALF, -HALF:HALF] * 200 + 100
    scale = REACH * 2
    return np.asarray((x - cx * scale) ** 2 + (y - cy * scale) ** 2 < (radius * scale) ** 2)


def _spokes(count: int, inner: int) -> list[tuple[int, int]]:
    """Corners of a star: ``count`` tips at the radius, the notches at ``inner`` percent of it."""
    corners = []
    for k in range(2 * count):
        angle, reach = k * TURN // (2 * count), 100 if k % 2 == 0 else inner
        corners.append((SINE[angle] * reach // ONE, -SINE[(angle + 90) % TURN] * reach // ONE))
    return corners


def _bitmap(shape: str) -> npt.NDArray[np.bool_]:
    if shape == "circle":
        return _disc(0, 0, 92)
    if shape == "square":
        return _polygon((-78, -78), (78, -78), (78, 78), (-78, 78))
    if shape == "triangle":
        return _polygon((0, -96), (96, 80), (-96, 80))
    if shape == "diamond":
        return _polygon((0, -100), (66, 0), (0, 100), (-66, 0))
    if shape == "star":
        return _polygon(*_spokes(5, 42))
    if shape == "heart":
        return _disc(-46, -34, 49) | _disc(46, -34, 49) | _polygon((-88, -8), (0, -50), (88, -8), (0, 96))
    if shape == "cross":
        return _polygon(
            (-32, -95), (32, -95), (32, -32), (95, -32), (95, 32), (32, 32),
            (32, 95), (-32, 95), (-32, 32), (-95, 32), (-95, -32), (-32, -32),
        )  # fmt: skip
    if shape == "ring":
        return _disc(0, 0, 96) & ~_disc(0, 0, 50)
    if shape == "crescent":
        return _disc(0, 0, 96) & ~_disc(46, 0, 74)
    if shape == "arrow":
        return _polygon((-98, -28), (8, -28), (8, -80), (98, 0), (8, 80), (8, 28), (-98, 28))
    raise ValueError(f"no bitmap for shape {shape!r}")


@cache
def _template(shape: str) -> npt.NDArray[np.uint8]:
    """Levels OUTSIDE, OUTLINE and INSIDE of a shape, (256, 256) uint8."""
    solid = _bitmap(shape)
    core = solid.copy()
    for step in range(EDGE):  # erode by crosses and squares in turn: nearly round
        padded = np.pad(core, 1)
        core = core & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
        if step % 2:
            core &= padded[2:, 2:] & padded[:-2, :-2] & padded[2:, :-2] & padded[:-2, 2:]
    return (solid.astype(np.uint8) * OUTLINE + core * np.uint8(INSIDE - OUTLINE)).astype(np.uint8)


def cut(shape: str, radius: int, angle: int) -> tuple[npt.NDArray[np.uint8], IntArray, IntArray]:
    """Sample one object centred in a square window: level, and place along and across the object.

    ``radius`` in 1/6 pixels, ``angle`` in degrees. All three are (3 w, 3 w) for a window of w pixels; places are in
    1/6 pixels in the object's own frame, where a fill pattern is drawn.
    """
    half = -(-radius // STEPS) + 1
    line = np.arange(-half * SUB, half * SUB, dtype=np.int32) * 2 + 1
    sine, cosine = SINE[angle % TURN], SINE[(angle + 90) % TURN]
    along = (line[None, :] * cosine + line[:, None] * sine) // ONE
    across = (line[:, None] * cosine - line[None, :] * sine) // ONE
    u = np.clip(along * REACH // radius + HALF, 0, 2 * HALF - 1)
    v = np.clip(across * REACH // radius + HALF, 0, 2 * HALF - 1)
    return _template(shape)[v, u], along, across
