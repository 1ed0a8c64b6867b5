"""Collections as t2c_search 1 (format 1) made them, kept to prove that they stay usable.

``tests/stores/made_before/collections.tar.xz`` holds the images and four stores: ``plain.t2c`` and ``realigned.t2c``, folders of
the embedded engine, and ``plain.jsonl`` and ``realigned.jsonl``, what a server held (``QdrantStub.load`` reads them). Each has
one collection, ``photos``: 24 drawn scenes with native vectors, typed fields, two concepts and one failure. ``realigned`` is the
same after a realignment by other images: its points lie in a generation folder, or under another name, that a pointer names.

To be small, the models are precomputed vectors, which also know the images in ``photographs/later``, not indexed yet, and the
words ``WORDS``.

``answers.json`` beside it says what each of them answered, and which commit made them. ``unpack`` gives a test its own copies,
and ``open_photos`` opens one. To make such a set for a later format, run this file at the commit whose format it is to keep:

    python -m tests.stores.made_before FOLDER

It writes both files into FOLDER. Its images lie below /photographs meanwhile, where the collections will say that they lie.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from tests.encoders.tiny import save_precomputed
from tests.stubs.rest import QdrantStub

FOLDER = Path(__file__).with_suffix("")
COLLECTION = "photos"
IMAGES = Path("/photographs")
COUNT, LATER = 24, 6
WORDS = ("a red heart", "a red star", "a star", "on grass", "at night")
QUERY = WORDS[0]
_ARCHIVE, _ANSWERS = "collections.tar.xz", "answers.json"
_DIMS = {"clip": 24, "backbone": 40}
_SEED, _OTHERS = 71, 60
_FIELDS = {"price": "float", "sold": "datetime", "shelf": "keyword"}


def unpack(folder: Path) -> dict[str, Any]:
    """Unpack images and stores into an empty folder; return the answers of ``plain`` and ``realigned``, and ``commit``."""
    with tarfile.open(FOLDER / _ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    told: dict[str, Any] = json.loads((FOLDER / _ANSWERS).read_text())
    return told


def make(folder: Path) -> None:
    """Make the collections and write the archive and the answers into a folder."""
    IMAGES.mkdir()
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp())
    try:
        table = _draw_images()
        told: dict[str, Any] = {"commit": _run("git", "rev-parse", "HEAD").strip()}
        for kind in ("plain", "realigned"):
            told[kind] = _fill(str(work / f"{kind}.t2c"), table, realigned=kind == "realigned")
            with QdrantStub() as stub:
                assert _fill(stub.url, table, realigned=kind == "realigned") == told[kind]
                (work / f"{kind}.jsonl").write_text(stub.dump())
        shutil.copytree(IMAGES, work / IMAGES.name, ignore=shutil.ignore_patterns("others"))
        parts = sorted(path.name for path in work.iterdir())
        _run("tar", "--sparse", "--owner=0", "--group=0", "-cJf", str(folder / _ARCHIVE), "-C", str(work), *parts)
        (folder / _ANSWERS).write_text(json.dumps(told, indent=1) + "\n")
    finally:
        shutil.rmtree(work)
        shutil.rmtree(IMAGES)


def _draw_images() -> Path:
    """Draw all images and a broken one, make their vectors, and return the table that describes those to index."""
    folders = [(IMAGES, COUNT), (IMAGES / "later", LATER), (IMAGES / "others", _OTHERS)]
    places = [(folder, number) for folder, count in folders for number in range(count)]
    rows: list[dict[str, Any]] = [{"image": "broken.jpg", "price": 1}]
    paths = []
    for (folder, number), scene in zip(places, draw(_SEED, len(places)), strict=True):
        folder.mkdir(exist_ok=True)
        paths.append(folder / f"{folder.name}-{number:02d}.jpg")
        Image.fromarray(scene.image).save(paths[-1], quality=85)
        if folder == IMAGES:
            thing = scene.truth.things[0]
            shelf = "upper" if number % 3 else "lower"
            described = {"price": 2.5 * number, "sold": f"2024-05-{number + 1:02d}", "shelf": shelf}
            rows.append({"image": paths[-1].name, **described, "caption": f"a {thing.colour} {thing.shape}"})
    (IMAGES / "broken.jpg").write_bytes(b"no image")
    table = IMAGES / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[1]))
        writer.writeheader()
        writer.writerows(rows)
    _save_vectors(IMAGES / "models", paths)
    return table


def _save_vectors(folder: Path, paths: Sequence[Path]) -> None:
    """Make the vectors of images and words with the mini models, at random in fewer dimensions."""
    rng = np.random.default_rng(_SEED)
    clip = registry.load_clip("mini", device="cpu", dtype="float32")
    words = clip.encode_texts(WORDS)
    for name, encoder in (
        ("clip", clip),
        ("backbone", registry.load_image_encoder("mini:vit", device="cpu", dtype="float32")),
    ):
        narrower = rng.standard_normal((encoder.image_dim, _DIMS[name])) / np.sqrt(_DIMS[name])
        batch = torch.stack([encoder.prepare(Image.open(path), path.name) for path in paths])
        rows = np.asarray(encoder.encode_images(batch)) @ narrower
        images = {path.name: row.astype(np.float32) for path, row in zip(paths, rows, strict=True)}
        concepts = zip(WORDS, np.asarray(words) @ narrower, strict=True) if name == "clip" else ()
        save_precomputed(folder / name, images, {word: row.astype(np.float32) for word, row in concepts})


def open_photos(folder: Path, store: str) -> Collection:
    """Open the collection in a store, with the models that ``unpack`` put into a folder."""
    models = folder / IMAGES.name / "models"
    return open_collection(
        COLLECTION, store, clip=f"precomputed:{models}/clip", backbone=f"precomputed:{models}/backbone"
    )


def _fill(store: str, table: Path, *, realigned: bool) -> dict[str, Any]:
    """Make the collection in a store, and return what it answers when it is opened again."""
    images = sorted(IMAGES.glob("photographs-*.jpg"))
    with open_photos(IMAGES.parent, store) as photos:
        photos.index([table], fields=_FIELDS, keep_native=True)
        photos.add_concept("first", images[:2], images[2:3])
        photos.add_concept("worded", texts=["a red star", "a star"])
        if realigned:
            photos.realign(fit_images=[IMAGES / "others"])
    with open_photos(IMAGES.parent, store) as photos:
        return answers(photos)


def answers(photos: Collection) -> dict[str, Any]:
    """Ask the collection what ``answers.json`` tells, in the same form."""
    found = photos.search(QUERY, limit=COUNT)
    by_concept = photos.search('@first AND NOT "a star" AND price >= 5', limit=COUNT)
    summary = photos.summary()
    return {
        "images": summary["images"],
        "failures": summary["failures"],
        "concepts": sorted(photos.concepts),
        "fields": dict(photos.store.spec().indexes),
        "native": summary["native"],
        "search": [[hit.id, round(hit.cosine, 4)] for hit in found],
        "concept_search": [hit.id for hit in by_concept],
        "count": photos.count('"a star" top 50%').count,
        "facet": [list(each) for each in photos.facets("shelf")],
        "first_hit": {"path": found[0].path, **found[0].payload},
    }


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    make(Path(sys.argv[1]))
