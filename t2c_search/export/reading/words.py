"""Descriptions to files: a table of them, or a picture of their words."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from t2c_search.aside import file_aside
from t2c_search.concepts.describe.results import Description
from t2c_search.errors import UsageError
from t2c_search.export.charts import BLUE, new_figure, rendered, short

DRAWN = 24
"""Descriptions in one picture, the first."""
_ACROSS, _LETTERS = 3, 32


def write_descriptions(things: Iterable[Description], path: Path) -> int:
    """Write descriptions to a ``.csv`` (a row for each word), ``.jsonl`` (a line for each thing) or ``.png``; return how many.

    Those of a table are taken one by one. Raises UsageError for another ending, and for what cannot be written.
    """
    writers = {".csv": _write_csv, ".jsonl": _write_jsonl, ".png": _draw}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise UsageError(f"{path.name} cannot be written: name a file that ends in {', '.join(writers)}")
    with file_aside(path) as target:
        return write(things, target)


def _write_csv(things: Iterable[Description], target: BinaryIO) -> int:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="")
    table = csv.writer(text)
    table.writerow(("subject", "word", "group", "weight", "cosine", "sentence", "sentence_cosine"))
    count = 0
    for count, thing in enumerate(things, 1):
        for word in thing.words:
            said = (thing.sentence, thing.sentence_cosine)
            table.writerow((thing.subject, word.name, word.group, f"{word.weight:.4f}", f"{thing.cosine:.4f}", *said))
    text.flush()
    text.detach()
    return count


def _write_jsonl(things: Iterable[Description], target: BinaryIO) -> int:
    count = 0
    for count, thing in enumerate(things, 1):
        target.write((json.dumps(thing.to_json(), ensure_ascii=False) + "\n").encode())
    return count


def _draw(things: Iterable[Description], target: BinaryIO) -> int:
    """Draw the words of the first few things as bars, largest first."""
    drawn = list(islice(things, DRAWN))
    if not drawn:
        raise UsageError("there is nothing to draw")
    across = min(_ACROSS, len(drawn))
    down = -(-len(drawn) // across)
    most = max(len(thing.words) for thing in drawn)
    figure = new_figure(4.6 * across, (0.26 * most + 1.0) * down)
    panels = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
    for panel, thing in zip(panels, drawn, strict=False):
        rows = range(len(thing.words))
        panel.barh(rows, [word.weight for word in thing.words], color=BLUE)
        panel.set_yticks(rows, [short(word.name, _LETTERS) for word in thing.words], parse_math=False)
        panel.set_ylim(most - 0.4, -0.6)
        title = thing.sentence or thing.subject
        shown = title if len(title) <= 48 else "…" + title[-47:]
        told = short(f"{shown}  ({thing.cosine:.2f})", 60)
        panel.set_title(told, fontsize=9, loc="left", parse_math=False)
        panel.tick_params(labelsize=8, length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
    for panel in panels[len(drawn) :]:
        panel.set_axis_off()
    target.write(rendered(figure, "png"))
    return len(drawn)
