"""A map as a picture: every image a point, clusters in colours, their names in a legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from t2c_search.aside import file_aside
from t2c_search.concepts.atlas.atlas import Atlas
from t2c_search.export.colours import group_colours
from t2c_search.export.page import harmless

_WIDTH, _HEIGHTS, _DOTS = 11, (5, 9), 150  # inches, and dots in each
_MAP = 0.78  # of the width is the map, the rest its legend
_LEGEND_ROWS, _LETTERS = 36, 42
_INK, _GREY = "#16181d", "#5c6372"


def write_map_picture(atlas: Atlas, title: str, path: Path) -> None:
    """Write a map as PNG under a title. Raises UsageError where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide, high = np.maximum(np.ptp(atlas.places, axis=0), np.finfo(np.float32).tiny)
    figure = Figure(
        figsize=(_WIDTH, float(np.clip(_WIDTH * _MAP * high / wide, *_HEIGHTS))), dpi=_DOTS, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    size = float(np.clip(30_000 / len(atlas), 1, 22))
    for number, colour in enumerate(group_colours(len(atlas.clusters))):
        own = atlas.places[atlas.labels == number]
        cluster = atlas.clusters[number]
        label = f"{_label(cluster.name)}  {cluster.size:,}"
        axes.scatter(own[:, 0], own[:, 1], s=size, color=colour, alpha=0.8, linewidths=0, label=label)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(_label(title), loc="left", fontsize=14, color=_INK, parse_math=False)
    shown = axes.get_legend_handles_labels()
    legend = axes.legend(
        *(each[:_LEGEND_ROWS] for each in shown),
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([36])  # type: ignore[union-attr]
    for text in legend.get_texts():
        text.set_parse_math(False)
    left_out = len(atlas.clusters) - _LEGEND_ROWS
    more = f"; {left_out} smaller clusters are not named" if left_out > 0 else ""
    figure.supxlabel(f"{atlas.told()}{more}", fontsize=9, color=_GREY, x=0.01, ha="left")
    with file_aside(path) as target:
        figure.savefig(target, format="png")


def _label(text: str) -> str:
    """Return a text for a picture: harmless, cut where it is too long, and not hidden by a leading underscore."""
    shown = harmless(" ".join(text.split()))
    return (" " if shown.startswith("_") else "") + (shown if len(shown) <= _LETTERS else shown[:_LETTERS] + "…")
