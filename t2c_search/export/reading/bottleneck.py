"""A bottleneck to a picture: accuracy against the concepts a decision takes, and what each class is told by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.aside import file_aside
from t2c_search.errors import UsageError
from t2c_search.export.charts import BLUE, GREEN, GREY, ORANGE, PICTURES, new_figure, rendered, short
from t2c_search.export.page import PAGES, Page, write_page
from t2c_search.filters import Scalar
from t2c_search.state.bottlenecks import Bottleneck

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CLASSES, _MOST_WEIGHTS = 30, 12  # shown of a bottleneck, and of a class
_ACROSS = 3
_LETTERS = 32
_LINES = {
    "named concepts": (BLUE, "-"),
    "random directions": (GREY, "-"),
    "random words": (GREY, "--"),
    "label-free head": (GREEN, "-"),
}
_LEVELS = {
    "zero-shot": (GREEN, ":"),
    "dense head on CLIP-space vectors": (ORANGE, ":"),
    "probe on native vectors": (ORANGE, "--"),
}


def write_bottleneck(bottleneck: Bottleneck, path: Path, classes: Sequence[Scalar] = ()) -> None:
    """Draw a bottleneck by the file's ending, ``.png``, ``.svg``, ``.pdf`` or ``.html``: all its classes, or those named.

    Raises UsageError for another ending, a class that is none, and for a place that cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in (*PAGES, *PICTURES):
        raise UsageError(
            f"a bottleneck cannot be drawn to {path}: expected a name that ends in .html, .png, .svg or .pdf"
        )
    shown = (classes or bottleneck.classes)[:_MOST_CLASSES]
    if ending in PAGES:
        picture = _picture(bottleneck, shown, "svg")
        write_page(Page(f"Bottleneck {bottleneck.name}", notes(bottleneck), (), picture), path)
        return
    picture = _picture(bottleneck, shown, ending[1:])
    with file_aside(path) as target:
        target.write(picture)


def notes(bottleneck: Bottleneck) -> list[str]:
    """Say in sentences what was fitted on what, what it is worth, and what was left out."""
    fitted = bottleneck.fitted
    found = [
        f"Tells {bottleneck.field} ({len(bottleneck.classes)} classes) by {len(bottleneck.concepts)} of {fitted.concepts} "
        f"concepts of {fitted.vocabulary}; fitted on {fitted.images} of {fitted.found} labelled images.",
        bottleneck.verdict[0].upper() + bottleneck.verdict[1:] + ".",
    ]
    if fitted.left_out:
        found.append(
            f"Left out, too near to a class or another concept: {', '.join(each.told for each in fitted.left_out)}."
        )
    if fitted.rare:
        found.append(f"Values of too few images: {', '.join(map(str, fitted.rare))}.")
    return found


def _picture(bottleneck: Bottleneck, classes: Sequence[Scalar], format: str) -> bytes:
    """Draw accuracies above, and below them the weights of each class."""
    weighed = [bottleneck.weighed(label)[:_MOST_WEIGHTS] for label in classes]
    across = min(_ACROSS, len(classes))
    down = -(-len(classes) // across)
    longest = max((len(each) for each in weighed), default=1)
    tall = 0.7 + 0.24 * max(longest, 2)
    figure = new_figure(4.4 * max(across, 2), 3.6 + tall * down)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.6, tall * down))[:, 0]
    _draw_curve(above.subplots(), bottleneck)
    axes = below.subplots(down, across, squeeze=False).ravel()
    for at, ax in enumerate(axes):
        if at < len(classes):
            _draw_weights(ax, short(str(classes[at]), _LETTERS), weighed[at])
        else:
            ax.set_axis_off()
    return rendered(figure, format)


def _draw_curve(ax: Axes, bottleneck: Bottleneck) -> None:
    for head, (colour, style) in _LINES.items():
        points = [
            (each.most, 100 * each.accuracy) for each in bottleneck.curve.points if each.head == head and each.most
        ]
        if points:
            ax.plot(*zip(*points, strict=True), color=colour, linestyle=style, marker="o", markersize=4, label=head)
    for head, (colour, style) in _LEVELS.items():
        level = bottleneck.curve.accuracy(head)
        if level is not None:
            ax.axhline(100 * level, color=colour, linestyle=style, linewidth=1.2, label=head)
    ax.set_xlabel("concepts that a decision takes (NCC at most)")
    ax.set_ylabel("right on held-out images, %")
    ax.set_xticks(sorted({each.most for each in bottleneck.curve.points if each.most is not None}))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_weights(ax: Axes, label: str, weighed: Sequence[tuple[str, float]]) -> None:
    names = [short(concept, _LETTERS) for concept, _ in weighed]
    weights = [weight for _, weight in weighed]
    ax.barh(range(len(weighed)), weights, color=[BLUE if weight > 0 else ORANGE for weight in weights], height=0.7)
    ax.set_yticks(range(len(weighed)), names, fontsize=8, parse_math=False)
    ax.invert_yaxis()
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.tick_params(axis="x", labelsize=7)
    ax.set_title(label, fontsize=10, loc="left", parse_math=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
