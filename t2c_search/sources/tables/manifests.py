"""Manifests: tables whose rows say where an image is, as a path relative to the table, an absolute one or an address."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import UsageError
from t2c_search.sources.addresses import UNKNOWN_SIZE, Stat, absolute, is_remote, stat, tidied
from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.lister import Listing
from t2c_search.sources.tables.annotations import as_fields, gather
from t2c_search.sources.tables.fiftyone import holds_samples, read_samples
from t2c_search.sources.tables.rows import IMAGE_COLUMNS, Row, image_column, read_rows
from t2c_search.types import Payload


def list_manifest(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images that a CSV, JSON lines, a JSON array, COCO annotations or FiftyOne's samples name; all their rows are
    read first."""
    read = read_samples if holds_samples(address) else read_rows
    return list_rows(address, read(address, listing.remarks), listing)


def list_rows(address: str, rows: Iterable[Row], listing: Listing) -> Iterator[ImageInput]:
    """List the images that the rows of the table at ``address`` name, several rows of one image joined.

    Nothing is fetched, and remote addresses are not looked at: they have no known size or time, and do not change.
    """
    for path, fields in gather(_located(address, rows, listing)):
        found = _look_at(path)
        yield ImageInput(path, found.size, found.mtime_ns, fields, allow_private=listing.allow_private)


def _located(address: str, rows: Iterable[Row], listing: Listing) -> Iterator[tuple[str, Payload]]:
    folder = address.rpartition("/")[0] or "/"
    try:
        for row in rows:
            if (column := image_column(row)) is None:
                listing.remarks.add(
                    f"row without an image passed over; one of {', '.join(IMAGE_COLUMNS)} names it", address
                )
                continue
            image = tidied(row.pop(column))
            yield image if is_remote(image) else absolute(image, folder), as_fields(row, listing.remarks, address)
    except UsageError as exc:
        listing.remarks.add(str(exc), "the rows before that are used")


def _look_at(path: str) -> Stat:
    if is_remote(path):
        return Stat(UNKNOWN_SIZE, 0)
    if found := stat(path):
        return found
    containers = (stat(path[: separator.start()]) for separator in re.finditer(MEMBER, path))
    found = next((file for file in containers if file and not file.is_folder), None)
    return Stat(UNKNOWN_SIZE, found.mtime_ns) if found else Stat(0, 0)
