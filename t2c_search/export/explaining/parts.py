"""Pictures of images in parts, each with its descriptors."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.aside import file_aside
from t2c_search.errors import UsageError
from t2c_search.export.charts import GREY, INK, PICTURES, new_figure, rendered, short
from t2c_search.export.colours import group_colours
from t2c_search.export.explaining.heat import rgb
from t2c_search.export.thumbnails import thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from t2c_search.explain.mutual.knowledge import ImageKnowledge, Knowledge, SeenPart

DRAWN = 12
"""Images in one picture, the first."""
_SIDE = 480  # pixels of an image
_WIDE, _HIGH = 11.0, 2.9  # inches of a row
_LETTERS, _LINES = 112, 14  # of the words beside an image
_WRAPPED = 6  # lines that the parts share for what is theirs, and as many for what the text has too
_TINT = 0.5  # opacity of a part's colour


def check_picture(path: Path) -> None:
    """Raise UsageError for a file that no picture can be written to, before the work."""
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"{path.name} cannot be written: name a file that ends in {', '.join(PICTURES)}")


def write_parts(found: Knowledge, path: Path) -> None:
    """Draw images with their parts, numbered, and beside each the parts' descriptors: first, and bold, those that are shared.

    Raises UsageError for another ending than that of a picture, ImageError for an image that cannot be read any more.
    """
    check_picture(path)
    images = found.images[:DRAWN]
    figure = new_figure(_WIDE, _HIGH * len(images) + 0.4)
    title = f"{found.text}: what images share with it, {len(found.said)} of {found.number} descriptors on either side"
    figure.suptitle(short(title, 110), x=0.01, ha="left", fontsize=12, parse_math=False)
    grid = figure.subplots(len(images), 2, width_ratios=[1, 2.4], squeeze=False)
    for (picture, beside), image in zip(grid, images, strict=True):
        _draw_image(picture, image)
        _draw_words(beside, image)
    content = rendered(figure, path.suffix.lower()[1:])
    with file_aside(path) as target:
        target.write(content)


def _draw_image(axes: Axes, image: ImageKnowledge) -> None:
    small, view = thumbnail(image.path, _SIDE), image.view
    width, height = small.size
    axes.set_axis_off()
    axes.imshow(small.convert("L").convert("RGB"))
    colours = group_colours(max(part.number for part in image.parts) + 1)
    tint = np.zeros((*image.map.shape, 4))
    for part in image.parts:
        tint[image.map == part.number] = (*rgb(colours[part.number]), _TINT)
    sides = (view.left * width, view.right * width, view.bottom * height, view.top * height)
    axes.imshow(tint, extent=sides, interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0))
    rows, columns = image.map.shape
    for part in image.parts:
        places = np.argwhere(image.map == part.number)
        middle = places[((places - places.mean(0)) ** 2).sum(1).argmin()] + 0.5
        x = sides[0] + middle[1] / columns * (sides[1] - sides[0])
        y = sides[3] + middle[0] / rows * (sides[2] - sides[3])
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": INK, "linewidth": 0.8}
        axes.text(x, y, str(part.number + 1), ha="center", va="center", fontsize=8, color=INK, bbox=box)


def _draw_words(axes: Axes, image: ImageKnowledge) -> None:
    axes.set(xlim=(0, 1), ylim=(_LINES, 0))
    axes.set_axis_off()
    sharing = image.sharing
    told = f"{Path(image.path).name}: {sharing.shared} shared, {sharing.mutual_information:.3f} nats"
    axes.text(0, 0.6, short(told, _LETTERS), fontsize=9, color=INK, weight="bold", parse_math=False)
    line = 2.0
    most = max(1, _WRAPPED // len(image.parts))
    for part in image.parts:
        for text, bold in _lines(part, set(image.shared), most):
            if line > _LINES:
                return
            style = {"weight": "bold", "color": INK} if bold else {"color": GREY}
            axes.text(0, line, text, fontsize=7.5, parse_math=False, **style)  # type: ignore[arg-type]
            line += 1
        line += 0.3


def _lines(part: SeenPart, shared: set[str], most: int) -> list[tuple[str, bool]]:
    """Return a part's lines, ``most`` of what is shared and of the rest, and whether they are of what is shared."""
    own = [name for name in part.descriptors if name in shared]
    others = [name for name in part.descriptors if name not in shared]
    told = [(f"{part.number + 1}  {', '.join(own)}", True), (", ".join(others), False)]
    return [(short(line, _LETTERS), bold) for text, bold in told for line in wrap(text, _LETTERS)[:most]]
