"""Folders of precomputed image vectors: which files hold them, and which the names of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAME_COLUMN = "image_path"
"""Column of a table of names: the path of each row's image, or its key in a webdataset."""

_PART = "img_emb_"


def vector_files(folder: Path) -> dict[Path, Path]:
    """Return the files of image vectors in a folder, each with the file of its names; none for other folders.

    Two layouts: ``image_embeddings.npy`` with ``image_names.txt``, a name a line; or clip-retrieval's ``img_emb_N.npy``
    with ``metadata_N.parquet``, in the folder or in ``img_emb/`` and ``metadata/``.
    """
    single = folder / "image_embeddings.npy"
    if single.is_file():
        return {single: folder / "image_names.txt"}
    images = folder / "img_emb" if (folder / "img_emb").is_dir() else folder
    metadata = folder / "metadata" if (folder / "metadata").is_dir() else folder
    parts = sorted(images.glob(f"{_PART}*.npy"))
    return {part: metadata / f"metadata_{part.stem.removeprefix(_PART)}.parquet" for part in parts}


def names_file(vectors: Path) -> Path | None:
    """Return the file of the names of a file's rows; None where there is none."""
    folders = (vectors.parent.parent, vectors.parent)
    found = (vector_files(folder).get(vectors) for folder in folders)
    return next((names for names in found if names and names.is_file()), None)


def read_names(names: Path) -> list[str]:
    """Return the names of a file's rows, one for each; "" where a row has none. Raises OSError, ValueError or KeyError."""
    if names.suffix == ".parquet":
        from pyarrow import parquet

        return list(map(as_name, parquet.read_table(names, columns=[NAME_COLUMN])[NAME_COLUMN].to_pylist()))
    with names.open(encoding="utf-8-sig", errors="replace") as file:  # lines end as on Linux, Windows or an old Mac
        lines = [line.removesuffix("\n") for line in file]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def as_name(value: Any) -> str:
    """Return a row's name as text: keys of webdatasets may be numbers, made floats by a null among them; "" for none."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
