"""Colours for groups that lie side by side: as unlike as can be, on white and on dark paper."""

from __future__ import annotations

import numpy as np

_GOLDEN = 0.381966  # of a turn: neighbours in number are far apart in hue
_LIGHTNESS, _CHROMA = (0.62, 0.72, 0.54), 0.135
_FIRST_HUE = 0.70  # of a turn: blue


def group_colours(number: int) -> list[str]:
    """Return so many colours as ``#rrggbb``: equal steps of hue, three lightnesses in turn, in the space OKLCH."""
    return [_hex(_LIGHTNESS[at % 3], _CHROMA, (_FIRST_HUE + at * _GOLDEN) % 1) for at in range(number)]


def _hex(lightness: float, chroma: float, turn: float) -> str:
    """Carry a colour of OKLCH (Ottosson 2020) to sRGB, cut to what it shows."""
    a, b = chroma * np.cos(2 * np.pi * turn), chroma * np.sin(2 * np.pi * turn)
    cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    linear = (
        np.array(
            [
                [4.0767416621, -3.3077115913, 0.2309699292],
                [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010],
            ]
        )
        @ (cones @ [lightness, a, b]) ** 3
    )
    linear = np.clip(linear, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * each):02x}" for each in shown)
