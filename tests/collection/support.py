"""A small collection of two spaces, and processes beside this one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from t2c_search.collection import Collection, open_collection
from t2c_search.collection.fitting import fit
from t2c_search.stores.protocol import Wait
from tests.indexing.support import save_pictures

IMAGES = 30
ASKED = ("a star", '"a red circle" AND NOT "a star" >= 1sd', '"a ring" OR "a blue square"')


@dataclass(frozen=True, slots=True)
class Aligners:
    """Files of two aligners of the same models: a fitted one, and one to which everything looks like the opposite."""

    own: Path
    turned: Path


def fit_aligners(folder: Path) -> Aligners:
    """Fit on pictures, and write both files."""
    save_pictures(folder / "fitted", IMAGES)
    fitted = fit([folder / "fitted"], clip="mini", backbone="mini:cnn", device="cpu")
    files = Aligners(folder / "own.safetensors", folder / "turned.safetensors")
    fitted.save(files.own)
    replace(fitted, weight=-fitted.weight, bias=-fitted.bias).save(files.turned)
    return files


def fill(collection: Collection, photos: Path, aligner: Path) -> Collection:
    """Make the collection of a folder's pictures, with native vectors."""
    save_pictures(photos, IMAGES)
    assert collection.index([photos], keep_native=True, aligner=aligner).indexed == IMAGES
    return collection


def opened(location: str) -> Collection:
    return open_collection("photos", location, clip="mini", backbone="mini:cnn", device="cpu", wait=Wait(60))


def answer(collection: Collection) -> list[tuple[str, float]]:
    """Ask every question; return the hits' ids and scores, one after the other."""
    results = [collection.search(query, limit=5) for query in ASKED]
    return [(hit.id, round(hit.score, 3)) for result in results for hit in result]


@contextmanager
def beside(work: Callable[..., None], *arguments: object) -> Iterator[BaseProcess]:
    """Run a function in another process, which must end well before the block does."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    try:
        yield process
        process.join()
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
