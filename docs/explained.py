"""Write ``docs/explained.html``: hits of twelve expressions among drawn scenes, each with what made it a hit.

    python docs/explained.py

Look at it then: figures do not tell whether a map is right.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

import t2c_search as t2c
from t2c_search.demo.world import draw
from t2c_search.export.explaining.explained import LEGEND, heading, method, section
from t2c_search.export.page import Card, Page, Section, write_page
from t2c_search.export.thumbnails import thumbnail

PAGE = Path(__file__).parent / "explained.html"
NOTE = (
    "The images are drawn, and looked at by mini:cnn, a backbone that never saw a caption, aligned on 400 other scenes to the "
    "mini CLIP model, which reads the texts. Written by docs/explained.py."
)
SEARCHED, FITTED = (601, 300), (602, 400)  # seed and number of scenes
ASKED = (
    "a red star",
    '"a blue circle" AND "on grass"',
    '"a heart" AND "a ring"',
    '"a star" AND NOT "on sand"',
    '"an arrow" AND NOT "a circle"',
    '"a green triangle" AND "a square" AND NOT "at night"',
    '"a crescent" >= 1.5sd AND "a purple object"',
    '"a cross" OR "a striped diamond"',
    '"a red square" RATHER THAN ("a blue square", "a green square")',
    '2 * "a yellow object" + "on a brick wall"',
    '("a circle" AND "a heart") OR ("a ring" AND NOT "a star")',
    '"three circles" AND NOT "a square" >= 1sd',
)


def main() -> None:
    """Draw, index and explain."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (seed, number) in (("searched", SEARCHED), ("fitted", FITTED)):
            (Path(folder) / name).mkdir()
            for scene in draw(seed, number):
                Image.fromarray(scene.image).save(Path(folder) / name / f"{scene.index:03d}.png")
        aligner = Path(folder) / "aligner.safetensors"
        t2c.fit(Path(folder) / "fitted", backbone="mini:cnn", clip="mini").save(aligner)
        with t2c.open_collection("scenes", f"{folder}/s.t2c", clip="mini", backbone="mini:cnn") as scenes:
            scenes.index([Path(folder) / "searched"], aligner=aligner)
            hits = [scenes.explain(query)[0] for query in ASKED]
            sections = tuple(
                _by_itself(section(hit, f"{number}. {query}: {heading(hit)}"), hit.path)
                for number, (query, hit) in enumerate(zip(ASKED, hits, strict=True), 1)
            )
        notes = [NOTE, *method(hits), LEGEND]
        write_page(Page("Twelve explained hits", notes, sections), PAGE)


def _by_itself(shown: Section, path: str) -> Section:
    """Return a section whose first card holds its image, and not the path of a file that is soon gone."""
    content = io.BytesIO()
    thumbnail(path, 320).save(content, "JPEG", quality=75)
    return replace(shown, cards=(Card("", Path(path).name, "", picture=content.getvalue()), *shown.cards[1:]))


if __name__ == "__main__":
    main()
