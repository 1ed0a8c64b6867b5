"""Explanations to files: a picture, a page for a browser, or JSON with the maps' numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2c_search.aside import file_aside
from t2c_search.errors import T2CError, UsageError
from t2c_search.export.charts import GREY, INK, PICTURES, new_figure, rendered, short
from t2c_search.export.explaining.heat import AGAINST, FOR, Heat, heated, tint
from t2c_search.export.page import PAGES, Card, Page, Section, Tinted, write_page
from t2c_search.export.thumbnails import thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from PIL import Image

    from t2c_search.explain.explanation import ExplainedLiteral, Explanation, Explanations, WordShare

SUFFIXES = (*PICTURES, *PAGES, ".json")
"""Endings of the files that explanations are written to."""
LEGEND = (
    "Orange: what speaks for the hit, outlined where no other text has its object. Blue, dashed: what speaks against it; of a "
    "NOT, where its text is seen. What is pale at the edge, the model did not see."
)
_KEY = "orange, outlined: speaks for the hit; blue, dashed: against it"  # where there is little room
_SIDE = 320  # pixels of a map on a page
_QUALITY = 75
_PANEL, _ACROSS = 3.0, 4  # inches, and panels in a row
_BELOW, _HEAD, _LINE = 0.55, 0.45, 0.14  # inches: what a literal gives, headings, and a line of notes
_LETTERS, _COLUMNS = 36, 44  # of a panel's title, and of its words


def check_explanation_file(path: Path) -> None:
    """Raise UsageError for a file that no explanation can be written to, before the work."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"explanations cannot be written to {path}: expected a name that ends in .png, .svg, .pdf, .html or .json"
        )


def write_explanations(found: Explanations, path: Path, title: str, notes: Sequence[str] = ()) -> None:
    """Write explanations by the file's ending: a picture, a page (.html) that needs no other file, or .json with the maps.

    A page goes on past an image that cannot be read any more, and says so; a picture raises ImageError. Raises UsageError for
    another ending, and for a place that cannot be written.
    """
    check_explanation_file(path)
    ending = path.suffix.lower()
    if ending in PAGES:
        sections = tuple(section(image, f"{number}. {heading(image)}") for number, image in enumerate(found, 1))
        missing = [f"not explained: {failure.redacted().reason}" for failure in found.failures]
        lines = [note for note in (*notes, *missing, *method(found), LEGEND) if note != title]
        write_page(Page(title, lines, sections), path)
        return
    if ending in PICTURES:
        content = _picture(found, title, ending[1:])
    else:
        content = json.dumps(found.to_json(), ensure_ascii=False).encode("utf-8", "surrogateescape")
    with file_aside(path) as target:
        target.write(content)


def figures(literal: ExplainedLiteral) -> str:
    """Say what was measured of a literal."""
    without = "" if literal.rank_without is None else f", without it rank {literal.rank_without}"
    return f"gives {literal.contribution:+.2f} (z {literal.z:+.2f}{without})"


def summary(image: Explanation) -> list[str]:
    """Say in a few lines what an image's explanation comes to."""
    lines = [str(image.counterfactual)] if image.counterfactual else []
    if image.others:
        others = (
            f"{each.expression}: {'excluded' if each.score is None else f'{each.score:.2f}'}" for each in image.others
        )
        lines.append(f"explained is {image.expression}; the other alternatives: {'; '.join(others)}")
    return [*lines, *image.notes]


def method(images: Sequence[Explanation]) -> list[str]:
    """Say how the places of some images were told, and how exactly; nothing where there is no image."""
    lines = []
    for name in dict.fromkeys(image.method for image in images):
        left = [image.residual for image in images if image.method == name and image.residual is not None]
        most = f", which leaves up to {max(left):.2g} of a vector unexplained" if left else ""
        lines.append(f"places by the method {name}{most}")
    return lines


def _heats(image: Explanation) -> list[Heat]:
    """Return the heat of each literal: colours by the strongest place of any map, outlines at half of that of any claim."""
    scale = max(float(np.abs(each.map).max()) for each in image.literals) or 1.0
    strongest = max((float(each.claim.max()) for each in image.literals if each.wanted), default=0.0)
    stretch = scale / strongest if strongest > 0 else 1.0
    return [
        Heat(each.map, image.view, scale, each.claim * stretch if each.wanted else each.claim)
        for each in image.literals
    ]


def _most(image: Explanation) -> float:
    """What the strongest word of any of an image's texts gives, by which all of them are coloured."""
    return max((abs(word.share) for literal in image.literals for word in literal.words), default=0.0) or 1.0


def standing(image: Explanation) -> str:
    """Say where an image stands, in front of its score."""
    if not image.found:
        return "not found, "
    return "" if image.rank is None else f"rank {image.rank}, "


def heading(image: Explanation) -> str:
    """Return an image's name, where it stands, and its score as a sum."""
    given = " ".join(f"{literal.contribution:+.2f}" for literal in image.literals) if len(image.literals) > 1 else ""
    return f"{Path(image.path).name}: {standing(image)}score {image.score:.2f}{given and f' = {given}'}"


def section(image: Explanation, title: str) -> Section:
    """Return a page's section: an image, and beside it a card for each literal."""
    plain = Card(image.path, "", "")
    try:
        small = thumbnail(image.path, _SIDE)
    except T2CError:  # the plain card says why
        return Section(title, (plain,), tuple(summary(image)))
    most = _most(image)
    cards = tuple(
        Card(
            "",
            literal.constraint,
            figures(literal),
            picture=_jpeg(heated(small, heat)),
            words=tuple(_tinted(word, most) for word in literal.words),
        )
        for literal, heat in zip(image.literals, _heats(image), strict=True)
    )
    return Section(title, (plain, *cards), tuple(summary(image)))


def _tinted(word: WordShare, most: float) -> Tinted:
    share = word.share / most
    return Tinted(word.word, tint(share), "#ffffff" if share < -0.5 else INK, f"{word.share:+.2f} sd")


def _jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()


def _picture(images: Sequence[Explanation], title: str, format: str) -> bytes:
    """Draw the images one below the other, each with its maps and what its literals give."""
    rows = [-(-(len(image.literals) + 1) // _ACROSS) for image in images]
    across = min(max(len(image.literals) + 1 for image in images), _ACROSS)
    high = [
        (_PANEL + _BELOW) * number + _HEAD + _LINE * (len(summary(image)) + 2)
        for number, image in zip(rows, images, strict=True)
    ]
    figure = new_figure(_PANEL * across, sum(high) + _HEAD)
    figure.suptitle(short(title, 34 * across), x=0.01, ha="left", fontsize=13, parse_math=False)
    parts = figure.subfigures(len(images), 1, height_ratios=high, squeeze=False)
    for (part,), image, number in zip(parts, images, rows, strict=True):
        _draw(part, image, (number, across))
    return rendered(figure, format)


def _draw(part: SubFigure, image: Explanation, shape: tuple[int, int]) -> None:
    """Draw one image: itself, then each literal's map, and below each what it gives."""
    rows, across = shape
    part.suptitle(short(heading(image), 42 * across), x=0.01, ha="left", fontsize=10, parse_math=False)
    told = "\n".join(short(line, 54 * across) for line in [*summary(image), *method([image]), _KEY])
    part.supxlabel(told, x=0.01, ha="left", fontsize=8, color=GREY, parse_math=False)
    grid = part.subplots(2 * rows, across, height_ratios=[_PANEL, _BELOW] * rows, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    panels = list(zip(grid[0::2].flat, grid[1::2].flat, strict=True))
    small, most = thumbnail(image.path, 2 * _SIDE), _most(image)
    panels[0][0].imshow(small)
    for (picture, below), literal, heat in zip(panels[1:], image.literals, _heats(image), strict=False):
        picture.imshow(heated(small, heat))
        picture.set_title(short(literal.constraint, _LETTERS), fontsize=10, loc="left", parse_math=False)
        below.set(xlim=(0, _COLUMNS), ylim=(0, 3))
        below.text(0, 2.45, figures(literal), fontsize=8, color=INK)
        _draw_share(below, literal.contribution / (max(abs(each.contribution) for each in image.literals) or 1))
        _draw_words(below, literal.words, most)


def _draw_share(axes: Axes, share: float) -> None:
    """Draw what a literal gives, from -1 to 1 of the most that any gives, as a bar from the middle."""
    from matplotlib.patches import Rectangle

    middle = _COLUMNS / 2
    axes.add_patch(
        Rectangle((middle, 1.75), share * middle * 0.98, 0.4, color=FOR if share > 0 else AGAINST, linewidth=0)
    )
    axes.plot([middle, middle], [1.65, 2.25], color=GREY, linewidth=1)


def _draw_words(axes: Axes, words: Sequence[WordShare], most: float) -> None:
    """Draw a text's words side by side, each on its colour, as far as there is room."""
    from matplotlib.patches import Rectangle

    left = 0
    for word in words:
        text = short(word.word, _LETTERS)
        shown, wide = _tinted(word, most), len(text) + 2
        if left + wide > _COLUMNS:
            break
        axes.add_patch(Rectangle((left + 0.1, 0.3), wide - 0.2, 1.0, color=shown.paper, linewidth=0))
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "parse_math": False}
        axes.text(left + wide / 2, 0.78, text, color=shown.ink, **style)
        left += wide
