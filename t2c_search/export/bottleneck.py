"""A bottleneck to a picture: accuracy against the concepts a decision takes, and what each class is told by."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.aside import file_aside
from t2c_search.errors import UsageError
from t2c_search.export.page import PAGES, Page, write_page
from t2c_search.filters import Scalar
from t2c_search.state.bottlenecks import Bottleneck

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PICTURES = (".png", ".svg", ".pdf")
_MOST_CLASSES, _MOST_WEIGHTS = 30, 12  # shown of a bottleneck, and of a class
_ACROSS = 3
_LETTERS = 32
_BLUE, _ORANGE, _GREY, _GREEN = "#2f6fb2", "#d9822b", "#8a90a0", "#3a8f5c"
_LINES = {
    "named concepts": (_BLUE, "-"),
    "random directions": (_GREY, "-"),
    "random words": (_GREY, "--"),
    "label-free head": (_GREEN, "-"),
}
_LEVELS = {
    "zero-shot": (_GREEN, ":"),
    "dense head on CLIP-space vectors": (_ORANGE, ":"),
    "probe on native vectors": (_ORANGE, "--"),
}


def write_bottleneck(bottleneck: Bottleneck, path: Path, classes: Sequence[Scalar] = ()) -> None:
    """Draw a bottleneck by the file's ending, ``.png``, ``.svg``, ``.pdf`` or ``.html``: all its classes, or those named.

    Raises UsageError for another ending, a class that is none, and for a place that cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in (*PAGES, *_PICTURES):
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    weighed = [bottleneck.weighed(label)[:_MOST_WEIGHTS] for label in classes]
    across = min(_ACROSS, len(classes))
    down = -(-len(classes) // across)
    longest = max((len(each) for each in weighed), default=1)
    tall = 0.7 + 0.24 * max(longest, 2)
    figure = Figure(figsize=(4.4 * max(across, 2), 3.6 + tall * down), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.6, tall * down))[:, 0]
    _draw_curve(above.subplots(), bottleneck)
    axes = below.subplots(down, across, squeeze=False).ravel()
    for at, ax in enumerate(axes):
        if at < len(classes):
            _draw_weights(ax, _harmless(str(classes[at])), weighed[at])
        else:
            ax.set_axis_off()
    content = io.BytesIO()
    figure.savefig(content, format=format, dpi=130)
    return content.getvalue()


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
    names = [_harmless(concept) for concept, _ in weighed]
    weights = [weight for _, weight in weighed]
    ax.barh(range(len(weighed)), weights, color=[_BLUE if weight > 0 else _ORANGE for weight in weights], height=0.7)
    ax.set_yticks(range(len(weighed)), names, fontsize=8)
    ax.invert_yaxis()
    ax.axvline(0, color=_GREY, linewidth=0.8)
    ax.tick_params(axis="x", labelsize=7)
    ax.set_title(label, fontsize=10, loc="left")
    ax.spines[["top", "right", "left"]].set_visible(False)


def _harmless(text: str) -> str:
    """Return a text that matplotlib takes for nothing but text, cut to what there is room for."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in text).replace("$", r"\$")
    return shown if len(shown) <= _LETTERS else f"{shown[:_LETTERS]}…"
