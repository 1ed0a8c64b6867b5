"""Images as one page for a browser: thumbnails, and what is told of each; nothing is loaded from elsewhere, no script runs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from t2c_search.aside import file_aside
from t2c_search.errors import T2CError, redact
from t2c_search.export.thumbnails import thumbnail
from t2c_search.sources import is_file

PAGES = (".html", ".htm")
"""Endings of a page's name."""

_SIDE = 320  # pixels of a thumbnail: sharp at the width of a card on a dense screen
_QUALITY = 80
_MOST_CARDS = 1000
_MOST_BYTES = 20_000_000  # of a page: what a browser opens at once, and a mail takes
_MOST_CAPTIONS, _MOST_LETTERS = 3, 300  # shown of a card
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, what turns text round, and bytes of names that are no text."""


@dataclass(frozen=True, slots=True)
class Tinted:
    """A word on paper of a colour ``#rrggbb``, in its ``ink``, and a note that a pointer at rest on it shows."""

    word: str
    paper: str
    ink: str
    note: str


@dataclass(frozen=True, slots=True)
class Card:
    """One image: ``mark`` is a word or number for it, ``figures`` what was measured; one that is ``dropped`` is paler.

    A ``picture``, a file's bytes, is shown in place of the image at the path, which may then be empty; ``words`` below it.
    """

    path: str
    mark: str
    figures: str
    captions: tuple[str, ...] = ()
    dropped: bool = False
    picture: bytes = b""
    words: tuple[Tinted, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Images under a heading and lines of notes, either of which may be empty."""

    heading: str
    cards: tuple[Card, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows: its title, lines of notes below it, a picture (SVG) where there is one, and its sections."""

    title: str
    notes: Sequence[str]
    sections: tuple[Section, ...]
    picture: bytes = b""


def write_page(page: Page, path: Path) -> None:
    """Write a page, self-contained and of at most some 20 MB: where images are left out for that, it says how many.

    An image that cannot be read any more has an empty frame that says so. Raises UsageError where it cannot be written.
    """
    body, shown = _body(page.sections)
    count = sum(len(section.cards) for section in page.sections)
    notes = [*page.notes]
    if not count:
        notes.append("no image to show")
    if shown < count:
        notes.append(
            f"The first {shown} of {count} images are shown: a page with all would be too large for a browser."
        )
    title = _text(page.title)
    head = f"<header><h1>{title}</h1>{''.join(f'<p>{_text(note)}</p>' for note in notes)}</header>"
    if page.picture:
        data = base64.b64encode(page.picture).decode()
        head += f'\n<img class="picture" alt="" src="data:image/svg+xml;base64,{data}">'
    with file_aside(path) as target:
        target.write(f"{_HEAD}<title>{title}</title>{_STYLE}</head><body>\n{head}\n{body}</body></html>\n".encode())


def _body(sections: Sequence[Section]) -> tuple[str, int]:
    """Return the sections' HTML, and how many cards there was room for."""
    parts: list[str] = []
    shown = size = 0
    for section in sections:
        heading = f"<h2>{_text(section.heading)}</h2>" if section.heading else ""
        opening = f"<section>{heading}{''.join(f'<p>{_text(note)}</p>' for note in section.notes)}<ol>\n"
        for at, card in enumerate(section.cards):
            made = (opening if at == 0 else "") + _card(card)
            if shown == _MOST_CARDS or size + len(made.encode()) > _MOST_BYTES:
                return "".join(parts) + ("</ol></section>\n" if at else ""), shown
            parts.append(made)
            shown, size = shown + 1, size + len(made.encode())
        if section.cards:
            parts.append("</ol></section>\n")
    return "".join(parts), shown


def _card(card: Card) -> str:
    path = _text(redact(card.path))
    if card.path and is_file(card.path):
        path = f'<a href="{escape(Path(card.path).absolute().as_uri())}">{path}</a>'
    captions = [text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + "…" for text in card.captions]
    lines = [f"<p>{_text(' '.join(text.split()))}</p>" for text in captions[:_MOST_CAPTIONS]]
    if (more := len(captions) - _MOST_CAPTIONS) > 0:
        lines.append(f"<p>and {more} more captions</p>")
    return (
        f'<li{" class=dropped" if card.dropped else ""}><div class="frame">{_frame(card)}</div>'
        f'<div class="figures"><b>{_text(card.mark)}</b> {_text(card.figures)}</div>{_words(card.words)}'
        f'<div class="captions">{"".join(lines)}</div><div class="path">{path}</div></li>\n'
    )


def _words(words: Sequence[Tinted]) -> str:
    spans = (
        f'<span style="background:{each.paper};color:{each.ink}" title="{_text(each.note)}">{_text(each.word)}</span>'
        for each in words
    )
    return f'<div class="words">{" ".join(spans)}</div>' if words else ""


def _frame(card: Card) -> str:
    """Return the card's own picture, or the image's thumbnail, or why there is none."""
    if card.picture:
        kind = "png" if card.picture.startswith(b"\x89PNG") else "jpeg"
        return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(card.picture).decode()}">'
    try:
        small = thumbnail(card.path, _SIDE)
    except T2CError as exc:  # it cannot be read, or a package for reading it is missing
        return f"<span>{_text(redact(str(exc)))}</span>"
    content = io.BytesIO()
    small.save(content, "JPEG", quality=_QUALITY)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="" width="{small.width}" height="{small.height}" src="data:image/jpeg;base64,{data}">'


def harmless(text: str) -> str:
    """Return a text with the letters that would hide, reorder or break it shown by their codes."""
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _text(text: str) -> str:
    """Escape a text for HTML, harmless."""
    return escape(harmless(text))


_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
"""
_STYLE = """
<style>
:root { --paper: #ffffff; --ink: #16181d; --grey: #5c6372; --frame: #eceef2; --line: #dfe2e8 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14161a; --ink: #e8eaee; --grey: #9aa1b0; --frame: #22252c; --line: #30343d }
}
body { margin: 0 auto; max-width: 1500px; padding: 24px; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; overflow-wrap: anywhere }
header { border-bottom: 1px solid var(--line); margin-bottom: 24px; padding-bottom: 12px }
h1 { font-size: 22px; font-weight: 600; margin: 0 0 6px }
h2 { font-size: 16px; font-weight: 600; margin: 28px 0 10px }
p { margin: 2px 0 }
header p, .path, .captions p + p { color: var(--grey) }
ol { display: grid; gap: 24px 18px; grid-template-columns: repeat(auto-fill, minmax(min(220px, 100%), 1fr)); list-style: none;
  margin: 0; padding: 0 }
.frame { align-items: center; aspect-ratio: 1; background: var(--frame); border-radius: 6px; display: flex;
  justify-content: center; overflow: hidden; position: relative }
.frame img { height: 100%; inset: 0; object-fit: contain; position: absolute; width: 100% }
.frame span { color: var(--grey); max-height: 100%; padding: 16px; text-align: center }
.figures { font-variant-numeric: tabular-nums; margin-top: 6px }
section > p { color: var(--grey); margin-bottom: 8px }
.words { margin: 4px 0 }
.words span { border-radius: 3px; display: inline-block; margin: 1px 0; padding: 1px 5px }
.captions p { unicode-bidi: plaintext }
.path { font-size: 12px; unicode-bidi: plaintext }
.path a { color: inherit; text-decoration-color: var(--line) }
.picture { background: #ffffff; border-radius: 6px; height: auto; max-width: 100% }
.dropped .frame img { opacity: 0.55 }
</style>
"""
