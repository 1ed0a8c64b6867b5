"""How two sides of images differ, to files: a picture of the effects, and a page with the images that show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2c_search.aside import file_aside
from t2c_search.concepts.shift.result import SURE, Shift, ShiftedWord, ShiftFinding, ShownImage
from t2c_search.errors import UsageError
from t2c_search.export.charts import BLUE, GREY, ORANGE, PICTURES, new_figure, rendered, short
from t2c_search.export.page import PAGES, Card, Page, Section, write_page

_DRAWN = 12  # findings of a side in the picture
_LETTERS = 34  # of a name in the picture


def write_shift(shift: Shift, path: Path, title: str) -> None:
    """Write it by the file's ending: a picture (``.png``, ``.svg``, ``.pdf``), or a page (``.html``) with picture and images.

    Raises UsageError for another ending, and for a place that cannot be written.
    """
    ending = path.suffix.lower()
    if ending in PAGES:
        notes = [f"{letter}: {side.name}, {side.images} images" for letter, side in shift.sides]
        write_page(Page(title, [*notes, *shift.told], _sections(shift), _picture(shift, title, "svg")), path)
    elif ending in PICTURES:
        content = _picture(shift, title, ending[1:])
        with file_aside(path) as target:
            target.write(content)
    else:
        raise UsageError(f"a shift cannot be written to {path}: expected a name that ends in .png, .svg, .pdf or .html")


def figures(word: ShiftedWord) -> str:
    """Say what was measured of a word."""
    sure = "" if word.sure else ", which chance alone may do"
    return (
        f"g {word.g:+.2f} [{word.low:+.2f}, {word.high:+.2f}], AUROC {word.auroc:.2f}, p {word.max_t_p:.2g} for all words "
        f"together{sure}"
    )


def _sections(shift: Shift) -> tuple[Section, ...]:
    """Show the images most typical of each side, then those that show best what it has more of."""
    sections = [
        Section(f"Most like {letter} and unlike the other side", _cards(side.typical, letter))
        for letter, side in shift.sides
    ]
    for letter, side in shift.sides:
        for finding in side.findings:
            if finding.images:
                heading = f"More in {letter}: {_named(finding)}: {figures(finding.word)}"
                sections.append(Section(heading, _cards(finding.images, letter)))
    return tuple(sections)


def _cards(images: Sequence[ShownImage], letter: str) -> tuple[Card, ...]:
    return tuple(Card(image.path, letter, f"{image.score:+.1f} sd") for image in images)


def _named(finding: ShiftFinding) -> str:
    like = f" (as {', '.join(finding.like[:4])})" if finding.like else ""
    return f"{finding.word.word}{like}"


def _picture(shift: Shift, title: str, format: str) -> bytes:
    """Draw g of each side's first findings with their intervals; what chance alone may do is pale."""
    above = [finding.word for finding in shift.a.findings[:_DRAWN]]
    below = [finding.word for finding in shift.b.findings[:_DRAWN]][::-1]
    rows = [*((word, BLUE) for word in above), *((word, ORANGE) for word in below)]
    figure = new_figure(8, 1.7 + 0.27 * len(rows))
    axes = figure.subplots()
    for place, (word, colour) in enumerate(rows):
        strength = 1.0 if word.sure else 0.35
        axes.plot([word.low, word.high], [place, place], color=colour, linewidth=2.5, alpha=strength)
        axes.plot([word.g], [place], "o", color=colour, alpha=strength)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(rows)), [short(word.word, _LETTERS) for word, _ in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25)
    axes.set_xlabel(f"Hedges' g with its 95 % interval; pale: p > {SURE:g} for all words together")
    axes.set_title(short(title, 80), loc="left", parse_math=False, fontsize=12, pad=40)
    for points, (letter, side), colour in ((20, shift.sides[0], BLUE), (6, shift.sides[1], ORANGE)):
        told = short(f"more in {letter}: {side.name}, {side.images} images", 90)
        at: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, points), "textcoords": "offset points"}
        axes.annotate(told, (0, 1), color=colour, fontsize=9, parse_math=False, **at)
    return rendered(figure, format)
