"""Folders of embeddings that somebody else's model made, clip-retrieval's above all: a row each, the images elsewhere.

What a row says of its image is indexed without it, so the encoder must be ``precomputed:`` and that folder. A path is
``DIR/img_emb/img_emb_0.npy::NAME``, by which the encoder finds the vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from t2c_search.decoding.metadata import MEMBER
from t2c_search.encoders.adapters.vector_files import NAME_COLUMN, as_name, names_file, read_names, vector_files
from t2c_search.errors import UsageError
from t2c_search.sources.addresses import UNKNOWN_SIZE, Stat, open_binary, said_of, stat
from t2c_search.sources.containers.parquet import table_rows
from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.lister import Listing
from t2c_search.sources.tables.annotations import as_fields
from t2c_search.sources.tables.rows import Row

VECTORS_SUFFIX = ".npy"


def embeddings_in(folder: str) -> list[str]:
    """Return the files of vectors in a local folder, in order of name."""
    return [path.as_posix() for path in vector_files(Path(folder))]


def list_embeddings(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the rows of a file of vectors by the names beside it. Raises UsageError when there are none."""
    names = names_file(Path(address))
    if names is None:
        raise UsageError(
            f"{address!r} has no names for its rows: expected img_emb_N.npy and metadata_N.parquet, "
            "or image_embeddings.npy and image_names.txt"
        )
    mtime_ns = (stat(address) or Stat(0, 0)).mtime_ns
    seen: set[str] = set()
    for row in _rows(names, listing):
        name = as_name(row.pop(NAME_COLUMN, None))
        if not name:
            listing.remarks.add(f"row without {NAME_COLUMN} passed over", names.as_posix())
        elif name in seen:
            listing.remarks.add(f"row whose {NAME_COLUMN} another row of its file has passed over", names.as_posix())
        else:
            seen.add(name)
            fields = as_fields(row, listing.remarks, names.as_posix())
            yield ImageInput(f"{address}{MEMBER}{name}", UNKNOWN_SIZE, mtime_ns, fields)


def _rows(names: Path, listing: Listing) -> Iterator[Row]:
    with said_of(f"table {names.as_posix()!r}", UsageError):
        if names.suffix != ".parquet":
            yield from ({NAME_COLUMN: name} for name in read_names(names))
            return
        with open_binary(names.as_posix()) as file:
            yield from table_rows(file, names.as_posix(), listing)
