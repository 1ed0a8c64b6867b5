"""Zero-shot classes to files: a picture of how right they are, a page with the images of each, or a row for each image."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.aside import file_aside
from t2c_search.concepts.zero_shot.judged import Judged
from t2c_search.concepts.zero_shot.keys import ids_of
from t2c_search.concepts.zero_shot.result import Classified
from t2c_search.errors import UsageError
from t2c_search.export.charts import BLUE, GREY, INK, ORANGE, PICTURES, new_figure, rendered, short
from t2c_search.export.page import PAGES, Card, Page, Section, write_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PathsOf = Callable[[Sequence[str]], dict[str, str]]
"""Ids to the paths of those that are still there."""

_BATCH = 1000  # rows of a CSV whose paths are asked for at a time
_CARDS = 12  # images of a class on a page: the surest, and as many where it was close
_MOST_NUMBERS, _MOST_NAMES = 25, 60  # classes with counts in the matrix's cells, and with names beside it
_LETTERS = 24  # of a name in a picture


def write_classified(classified: Classified, path: Path, title: str, paths_of: PathsOf) -> None:
    """Write classes by the file's ending: ``.png``, ``.svg`` or ``.pdf``, ``.html``, or ``.csv`` with a row for each image.

    Raises UsageError for another ending, and for a place that cannot be written.
    """
    ending = path.suffix.lower()
    if ending == ".csv":
        _write_rows(classified, path, paths_of)
    elif ending in PAGES:
        picture = _picture(classified, title, "svg")
        write_page(Page(title, _notes(classified), _sections(classified, paths_of), picture), path)
    elif ending in PICTURES:
        with file_aside(path) as target:
            target.write(_picture(classified, title, ending[1:]))
    else:
        raise UsageError(
            f"classes cannot be written to {path}: expected a name that ends in .png, .svg, .pdf, .html or .csv"
        )


def _write_rows(classified: Classified, path: Path, paths_of: PathsOf) -> None:
    found = classified.assigned
    sure = found.confidences
    with file_aside(path) as target:
        text = io.TextIOWrapper(target, encoding="utf-8", newline="")
        table = csv.writer(text)
        table.writerow(["path", "class", "score", "margin", *(["confidence"] if sure is not None else []), "id"])
        places = classified.places()
        for start in range(0, len(classified), _BATCH):
            part = slice(start, start + _BATCH)
            ids = ids_of(classified.keys[part])
            paths = paths_of(ids)
            figures = [column[part] for column in (found.scores, found.margins, sure) if column is not None]
            for each, at, *numbers in zip(ids, places[part], *figures, strict=True):
                name = "" if at < 0 else classified.classes[at]
                table.writerow([paths.get(each, ""), name, *(f"{number:.6g}" for number in numbers), each])
        text.flush()
        text.detach()


def _sections(classified: Classified, paths_of: PathsOf) -> tuple[Section, ...]:
    """Show of each class the images that lead by most, and those that lead by least."""
    places, margins = classified.places(), classified.assigned.margins
    sections = []
    for number, name in [*enumerate(classified.classes), (-1, "no class")]:
        members = np.flatnonzero(places == number)
        ordered = members[np.argsort(-margins[members], kind="stable")]
        shown = ordered if len(ordered) <= _CARDS else np.concatenate([ordered[: _CARDS // 2], ordered[-_CARDS // 2 :]])
        ids = ids_of(classified.keys[shown])
        paths = paths_of(ids)
        cards = tuple(
            Card(paths[each], name, f"margin {margins[row]:.3f}{_confidence(classified, int(row))}")
            for each, row in zip(ids, shown, strict=True)
            if each in paths
        )
        beyond = f": {len(members)} images" + (", the surest and the closest" if len(members) > _CARDS else "")
        sections.append(Section(name + beyond, cards))
    return tuple(sections)


def _confidence(classified: Classified, row: int) -> str:
    sure = classified.assigned.confidences
    return "" if sure is None else f", confidence {sure[row]:.2f}"


def _notes(classified: Classified) -> list[str]:
    notes = [f"{len(classified)} images in {len(classified.classes)} classes; {classified.counts()[None]} have none."]
    if (judged := classified.judged) is not None:
        notes.append(f"Right for {judged.accuracy:.1%} of {judged.images} images, by {judged.field}.")
        if judged.reliability is not None:
            notes.append(f"Confidences are off by {judged.reliability.error:.3f} on average, on images held out.")
    else:
        notes.append("How right the classes are is not known: no field was named that tells.")
    return notes


def _picture(classified: Classified, title: str, format: str) -> bytes:
    """Draw the confusion matrix, the risk-coverage curve and the reliability, or else how many images each class has."""
    judged = classified.judged
    side = min(max(4.2, 0.42 * len(classified.classes) + 1.8), 16.0)
    panels = 1 if judged is None else 2 if judged.reliability is None else 3
    widths = [side + 0.6] + [4.2] * (panels - 1)
    figure = new_figure(sum(widths), max(side, 4.2))
    axes = figure.subplots(1, panels, width_ratios=widths, squeeze=False)[0]
    figure.suptitle(short(title, 80), x=0.01, ha="left", parse_math=False)
    if judged is None:
        _draw_counts(axes[0], classified)
    else:
        _draw_matrix(axes[0], judged)
        _draw_risk(axes[1], judged)
        if judged.reliability is not None:
            _draw_reliability(axes[2], judged)
    return rendered(figure, format)


def _draw_counts(axes: Axes, classified: Classified) -> None:
    counts = classified.counts()
    names = [short(name or "no class", _LETTERS) for name in counts]
    axes.barh(range(len(names)), list(counts.values()), color=[BLUE] * (len(names) - 1) + [GREY])
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("images")


def _draw_matrix(axes: Axes, judged: Judged) -> None:
    matrix = judged.matrix if judged.matrix[:, -1].any() else judged.matrix[:, :-1]
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [short(name, _LETTERS) for name in judged.classes]
    if len(names) <= _MOST_NAMES:
        given = [*names, "no class"][: matrix.shape[1]]
        axes.set_xticks(range(len(given)), given, rotation=60, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
    if len(names) <= _MOST_NUMBERS:
        for (row, column), number in np.ndenumerate(matrix):
            ink = "white" if shares[row, column] > 0.6 else INK if number else "#c4c9d4"
            axes.text(column, row, str(number), ha="center", va="center", color=ink, fontsize=8)
    axes.set_xlabel("class given")
    axes.set_ylabel(short(judged.field, _LETTERS), parse_math=False)
    axes.set_title(f"accuracy {judged.accuracy:.3f} of {judged.images} images", fontsize=10)


def _draw_risk(axes: Axes, judged: Judged) -> None:
    risk = judged.risk
    axes.plot(risk.coverage, risk.accuracy, color=BLUE)
    axes.set(xlim=(0, 1), xlabel="share of images that keep their class", ylabel="accuracy among them")
    axes.set_ylim(min(0.9, max(0.0, float(risk.accuracy.min()) - 0.05)), 1.01)
    for coverage in (0.9, 0.5):
        margin, accuracy = risk.at(coverage)
        axes.plot([coverage], [accuracy], "o", color=ORANGE)
        axes.annotate(
            f"margin {margin:.3f}", (coverage, accuracy), (-6, -14), textcoords="offset points", ha="right", fontsize=8
        )
    axes.set_title("what abstaining gains", fontsize=10)
    axes.grid(alpha=0.25)


def _draw_reliability(axes: Axes, judged: Judged) -> None:
    reliability = judged.reliability
    assert reliability is not None
    there = reliability.images > 0
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    size = 20 + 300 * reliability.images[there] / reliability.images.sum()
    axes.plot(reliability.confidence[there], reliability.accuracy[there], color=BLUE, linewidth=1)
    axes.scatter(reliability.confidence[there], reliability.accuracy[there], size, color=BLUE)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy, images held out")
    axes.set_title(f"calibration error {reliability.error:.3f}", fontsize=10)
    axes.grid(alpha=0.25)
