"""Folders of precomputed image vectors: which files hold them, and which the names of their rows."""

from __future__ import annotations

from pathlib import Path

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
