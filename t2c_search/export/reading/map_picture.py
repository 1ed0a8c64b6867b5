"""A map as a picture: every image a point, clusters in colours, their names in a legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from t2c_search.aside import file_aside
from t2c_search.concepts.atlas.atlas import Atlas
from t2c_search.export.charts import GREY, INK, new_figure, rendered, short
from t2c_search.export.colours import group_colours

_WIDTH, _HEIGHTS = 11, (5, 9)  # inches
_MAP = 0.78  # of the width is the map, the rest its legend
_LEGEND_ROWS, _LETTERS = 36, 42


def write_map_picture(atlas: Atlas, title: str, path: Path) -> None:
    """Write a map as PNG under a title. Raises UsageError where it cannot be written."""
    wide, high = np.maximum(np.ptp(atlas.places, axis=0), np.finfo(np.float32).tiny)
    figure = new_figure(_WIDTH, float(np.clip(_WIDTH * _MAP * high / wide, *_HEIGHTS)))
    axes = figure.add_subplot()
    size = float(np.clip(30_000 / len(atlas), 1, 22))
    for number, colour in enumerate(group_colours(len(atlas.clusters))):
        own = atlas.places[atlas.labels == number]
        cluster = atlas.clusters[number]
        label = f"{short(cluster.name, _LETTERS)}  {cluster.size:,}"
        axes.scatter(own[:, 0], own[:, 1], s=size, color=colour, alpha=0.8, linewidths=0, label=label)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(short(title, _LETTERS), loc="left", fontsize=14, color=INK, parse_math=False)
    shown = axes.get_legend_handles_labels()
    legend = axes.legend(
        *(each[:_LEGEND_ROWS] for each in shown),
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([36])  # type: ignore[union-attr]
    for text in legend.get_texts():
        text.set_parse_math(False)
    left_out = len(atlas.clusters) - _LEGEND_ROWS
    more = f"; {left_out} smaller clusters are not named" if left_out > 0 else ""
    figure.supxlabel(f"{atlas.told()}{more}", fontsize=9, color=GREY, x=0.01, ha="left")
    with file_aside(path) as target:
        target.write(rendered(figure, "png"))
