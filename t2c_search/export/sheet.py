"""A contact sheet: a whole search at a glance, as one picture or as a page for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from t2c_search.aside import file_aside
from t2c_search.errors import T2CError, UsageError
from t2c_search.export.page import PAGES, Card, Page, Section, write_page
from t2c_search.export.thumbnails import thumbnail
from t2c_search.results import Hit

_TILE = 240  # pixels, side of a thumbnail's square
_GAP = 16
_LABEL = 40
_TITLE = 56
_MOST_PIXELS = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535}
_PAPER, _INK, _GREY, _FRAME = "#ffffff", "#16181d", "#6a7080", "#eceef2"


@dataclass(frozen=True, slots=True)
class _Style:
    """How a line of text looks: its height in pixels and its colour."""

    size: int
    colour: str

    @property
    def font(self) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.load_default(self.size)


_HEADING, _RANK, _NOTE, _REMARK = _Style(22, _INK), _Style(13, _INK), _Style(13, _GREY), _Style(14, _GREY)


def write_sheet(hits: Sequence[Hit], title: str, path: Path, *, notes: Sequence[str] = (), columns: int = 4) -> None:
    """Write the hits' thumbnails, in order of rank under ``title``: a page for .html and .htm, else an image file.

    A page also shows captions, whole paths, and the lines of ``notes``; an image has no room for them, and stands in
    ``columns``. A hit that cannot be read any more shows an empty frame that says so. Raises UsageError for a suffix that
    names no image format, for more hits than the format has room for, and for a place that cannot be written.
    """
    if path.suffix.lower() in PAGES:
        write_page(Page(title, notes, (Section("", tuple(map(_card, hits))),)), path)
    else:
        _write_picture(hits, title, path, columns)


def _card(hit: Hit) -> Card:
    captions = hit.payload.get("captions", [])
    told = captions if isinstance(captions, list) else [captions]
    return Card(hit.path, str(hit.rank), f"score {hit.score:.3f}, cosine {hit.cosine:.3f}", tuple(map(str, told)))


def _write_picture(hits: Sequence[Hit], title: str, path: Path, columns: int) -> None:
    format = Image.registered_extensions().get(path.suffix.lower(), "")
    if format not in Image.SAVE:
        raise UsageError(f"no image format is named {path.suffix!r} in {str(path)!r}; use .png, .jpg, .webp or .html")
    columns = max(1, min(columns, len(hits)))
    rows = -(-len(hits) // columns)
    width = max(_GAP + columns * (_TILE + _GAP), 2 * (_TILE + _GAP))
    sheet = Image.new("RGB", (width, _TITLE + rows * (_TILE + _LABEL + _GAP) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_line(draw, (_GAP, _GAP), title, width - 2 * _GAP, _HEADING)
    if not hits:
        _draw_line(draw, (_GAP, _TITLE - 8), "no image matches", width - 2 * _GAP, _REMARK)
    for place, hit in enumerate(hits):
        corner = (
            _GAP + place % columns * (_TILE + _GAP),
            _TITLE + place // columns * (_TILE + _LABEL + _GAP),
        )
        _draw_hit(sheet, draw, hit, corner)
    most = _MOST_PIXELS.get(format, sheet.height)
    if sheet.height > most:
        raise UsageError(
            f"a contact sheet of {len(hits)} hits is {sheet.height} pixels high, more than {path.suffix} holds ({most}): "
            "write a .png, or ask for fewer hits"
        )
    with file_aside(path) as target:
        sheet.save(target, format)


def _draw_hit(sheet: Image.Image, draw: ImageDraw.ImageDraw, hit: Hit, corner: tuple[int, int]) -> None:
    left, top = corner
    draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=_FRAME)
    try:
        small = thumbnail(hit.path, _TILE)
        sheet.paste(small, (left + (_TILE - small.width) // 2, top + (_TILE - small.height) // 2))
    except T2CError as exc:  # it cannot be read, or a package for reading it is missing
        _draw_line(draw, (left + 8, top + _TILE // 2), str(exc), _TILE - 16, _NOTE)
    label = top + _TILE + 4
    draw.text(
        (left, label),
        f"{hit.rank}" if hit.score is None else f"{hit.rank}   {hit.score:.3f}",
        fill=_RANK.colour,
        font=_RANK.font,
    )
    _draw_line(draw, (left, label + 16), Path(hit.path).name, _TILE, _NOTE)


def _draw_line(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, width: int, style: _Style) -> None:
    """Draw one line, cut with an ellipsis where it would pass ``width`` pixels."""
    line, font = " ".join(text.split()), style.font
    if draw.textlength(line, font=font) > width:
        while line and draw.textlength(line + "…", font=font) > width:
            line = line[:-1]
        line += "…"
    draw.text(corner, line, fill=style.colour, font=font)
