"""Manifests: tables whose rows say where an image is, as a path relative to the table, an absolute one or an address."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from unicodedata import normalize

from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import UsageError
from t2c_search.sources.addresses import UNKNOWN_SIZE, Stat, absolute, is_remote, stat, tidied
from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.lister import Listing
from t2c_search.sources.tables.annotations import as_fields, gather
from t2c_search.sources.tables.fiftyone import holds_samples, read_samples
from t2c_search.sources.tables.rows import IMAGE_COLUMNS, Row, Wanted, pop_images, read_rows
from t2c_search.types import Payload


def list_manifest(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images that a CSV, JSON lines, a JSON array, COCO annotations or FiftyOne's samples name; all their rows are
    read first."""
    if holds_samples(address):
        return list_rows(address, read_samples(address, listing.remarks), replace(listing, image_column=""))
    rows = read_rows(address, listing.remarks, Wanted(image=listing.image_column))
    return list_rows(address, rows, listing)


def list_rows(address: str, rows: Iterable[Row], listing: Listing) -> Iterator[ImageInput]:
    """List the images that the rows of the table at ``address`` name, several rows of one image joined.

    Nothing is fetched, and remote addresses are not looked at: they have no known size or time, and do not change.
    """
    for path, fields in gather(_located(address, rows, listing)):
        found = _look_at(path)
        yield ImageInput(path, found.size, found.mtime_ns, fields)


def _located(address: str, rows: Iterable[Row], listing: Listing) -> Iterator[tuple[str, Payload]]:
    folder = address.rpartition("/")[0] or "/"
    try:
        for row in rows:
            if not (images := pop_images(row, listing.image_column)):
                naming = listing.image_column or f"one of {', '.join(IMAGE_COLUMNS)}"
                listing.remarks.add(f"row without an image passed over; {naming} names it", address)
                continue
            fields = as_fields(row, listing.remarks, address)
            yield from ((located(image, folder), fields) for image in images)
    except UsageError as exc:
        listing.remarks.add(str(exc), "the rows before that are used")


def located(image: str, folder: str) -> str:
    """Return the address of an image that a table in ``folder`` names: spelt as the file is, in Unicode's NFC or NFD."""
    image = tidied(image)
    if is_remote(image):
        return image
    place = absolute(image, folder)
    if image.isascii() or is_remote(place) or os.path.lexists(place):
        return place
    spelt = (absolute(normalize(form, image), folder) for form in ("NFC", "NFD"))
    return next(filter(os.path.lexists, spelt), place)


def _look_at(path: str) -> Stat:
    if is_remote(path):
        return Stat(UNKNOWN_SIZE, 0)
    if found := stat(path):
        return found
    containers = (stat(path[: separator.start()]) for separator in re.finditer(MEMBER, path))
    found = next((file for file in containers if file and not file.is_folder), None)
    return Stat(UNKNOWN_SIZE, found.mtime_ns) if found else Stat(0, 0)
