"""What a model knows, to a file: a picture of each word's score with its interval, or JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.aside import file_aside
from t2c_search.errors import UsageError
from t2c_search.explain.grounding import GroundedWord, Grounding
from t2c_search.export.charts import BLUE, GREY, ORANGE, PICTURES, new_figure, rendered, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LETTERS = 30
_MOST = 60  # words in the picture


def check_grounding_file(path: Path) -> None:
    """Raise UsageError for a file that this cannot be written to, before the work."""
    if path.suffix.lower() not in (*PICTURES, ".json"):
        raise UsageError(
            f"what a model knows cannot be written to {path}: expected a name that ends in .png, .svg, .pdf or .json"
        )


def write_grounding(found: Grounding, path: Path) -> None:
    """Write it by the file's ending. Raises UsageError for another ending, and for a place that cannot be written."""
    check_grounding_file(path)
    ending = path.suffix.lower()
    told = json.dumps(found.to_json(), ensure_ascii=False)
    content = told.encode("utf-8", "surrogateescape") if ending == ".json" else _picture(found, ending[1:])
    with file_aside(path) as target:
        target.write(content)


def _picture(found: Grounding, format: str) -> bytes:
    """Draw scores with their intervals and what chance gives; of two models, what the second one gains beside."""
    words = found.words[:_MOST]
    panels = 1 if found.other is None else 2
    figure = new_figure(4.6 * panels + 1.4, 1.5 + 0.25 * len(words))
    first, *rest = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
    for place, word in enumerate(words):
        first.plot([word.low, word.high], [place, place], color=BLUE, linewidth=2.5)
        first.plot([word.score], [place], "o", color=BLUE)
        first.plot([word.chance], [place], "|", color=GREY, markersize=11, markeredgewidth=2)
        if rest and word.other is not None:
            _draw_gain(rest[0], place, word)
            first.plot([word.other], [place], "o", color=ORANGE, markerfacecolor="none")
    first.set(xlim=(0, 1), xlabel="pointing score, 95 % interval; grey: by chance")
    first.set_yticks(
        range(len(words)), [f"{short(word.word, _LETTERS)}  {word.images}" for word in words], parse_math=False
    )
    first.set_ylim(len(words) - 0.4, -0.6)
    first.grid(axis="x", alpha=0.25)
    if rest:
        rest[0].axvline(0, color=GREY, linewidth=1)
        rest[0].grid(axis="x", alpha=0.25)
        rest[0].set_xlabel(f"gained by {short(_brief(found.other or ''), 48)}")
    figure.suptitle(
        short(f"What {_brief(found.model)} knows", 46 * panels), x=0.01, ha="left", fontsize=11, parse_math=False
    )
    return rendered(figure, format)


def _brief(model: str) -> str:
    """Leave out the folders of a model that lies in one."""
    return re.sub(r"local-dir:\S*/", "", model)


def _draw_gain(axes: Axes, place: int, word: GroundedWord) -> None:
    low, high, gain = (number or 0.0 for number in (word.gain_low, word.gain_high, word.gain))
    strength = 1.0 if low > 0 or high < 0 else 0.35
    axes.plot([low, high], [place, place], color=ORANGE, linewidth=2.5, alpha=strength)
    axes.plot([gain], [place], "o", color=ORANGE, alpha=strength)
