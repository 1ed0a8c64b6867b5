"""What charts have in common: colours, figures, and names that fit, do no harm and are taken for no formula."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from t2c_search.export.page import harmless

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#2f6fb2", "#d9822b", "#3a8f5c", "#8a90a0"
INK = "#16181d"
PICTURES = (".png", ".svg", ".pdf")
"""Endings of a picture's name."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches, which no window shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, format: str) -> bytes:
    """Return a figure as a file's bytes: ``png``, ``svg`` or ``pdf``."""
    content = io.BytesIO()
    figure.savefig(content, format=format, dpi=150)
    return content.getvalue()


def short(text: str, letters: int) -> str:
    """Return a text from elsewhere for a chart: harmless, in one line, cut where it is too long.

    A leading underscore would hide it from a legend. Where it is drawn, formulas are to be off (``parse_math=False``).
    """
    shown = harmless(" ".join(text.split()))
    return (" " if shown.startswith("_") else "") + (shown if len(shown) <= letters else shown[: letters - 1] + "…")
