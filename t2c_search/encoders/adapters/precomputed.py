"""``precomputed:DIR``: vectors that somebody else's model made, looked up by the image's path or the concept's name.

Image vectors are (n, d), in one of the layouts of ``vector_files``. Beside either, ``concept_embeddings.npy`` (v, d) with
``concept_names.txt`` is the text side.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import accumulate
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from blake3 import blake3
from torch.nn.functional import normalize

from t2c_search.encoders.adapters.vector_files import read_names, vector_files
from t2c_search.encoders.fingerprint import digest_json
from t2c_search.encoders.loading import local_folder
from t2c_search.encoders.placement import Placement
from t2c_search.errors import EncoderError, UnknownVectorError
from t2c_search.types import Fingerprint

if TYPE_CHECKING:
    from t2c_search.settings import Device, Dtype

_NEAREST = 3  # names in the message about an unknown one
_MEMBER = "::"  # between a container and the image in it, in the paths that are asked for


@dataclass(frozen=True, slots=True)
class _Part:
    """Named rows of one memory-mapped file."""

    path: Path
    rows: npt.NDArray[np.floating]
    names: list[str]


class PrecomputedImages:
    """Image vectors by path: the pixels are never looked at."""

    def __init__(self, encoder_id: str, parts: Sequence[_Part], placement: Placement) -> None:
        self.id = encoder_id
        self.device = placement.device
        self._parts = parts
        self._starts = [0, *accumulate(len(part.names) for part in parts)]
        self._part_numbers = {part.path.name: number for number, part in enumerate(parts)}
        self._by_file_name: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(name for part in parts for name in part.names):
            if name:
                self._by_file_name[_as_path(name).name].append(row)
        self.image_dim = int(parts[0].rows.shape[1])

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digest of names and image vectors: any change of the folder's images is another encoder."""
        digest = blake3(max_threads=blake3.AUTO)
        for part in self._parts:
            digest.update("\n".join(part.names).encode())
            digest.update_mmap(part.path)
        return Fingerprint(digest.hexdigest(), digest_json("precomputed"))

    def look_up(self, path: str) -> torch.Tensor:
        """Return the vector (image_dim,) float32 of the image with that path, on the CPU.

        ``.../img_emb_0.npy::NAME`` is the row of that name in that file, the first of several. Other names match from the
        file name backwards: relative ones as a whole, absolute ones as far as they agree, so that a moved folder still
        matches. Raises UnknownVectorError when none or several match, naming the nearest.
        """
        part, row = self._locate(self._find(path))
        return torch.from_numpy(part.rows[row].astype(np.float32))

    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the looked-up vectors (n, image_dim) float32 on ``device``."""
        return batch.to(self.device)

    def _locate(self, row: int) -> tuple[_Part, int]:
        part = bisect_right(self._starts, row) - 1
        return self._parts[part], row - self._starts[part]

    def _find_in_part(self, name: str) -> int | None:
        """Return the row that a path names by its file of vectors; None for other paths."""
        for separator in re.finditer(_MEMBER, name):
            number = self._part_numbers.get(PurePath(name[: separator.start()]).name)
            if number is not None:
                key, start, end = name[separator.end() :], self._starts[number], self._starts[number + 1]
                rows = self._by_file_name.get(_as_path(key).name, [])
                here = rows[bisect_left(rows, start) : bisect_left(rows, end)]
                return next((row for row in here if self._parts[number].names[row - start] == key), None)
        return None

    def _find(self, name: str) -> int:
        if (found := self._find_in_part(name)) is not None:
            return found
        asked = _as_path(name)
        agreeing: dict[int, list[int]] = defaultdict(list)
        for row in self._by_file_name.get(asked.name, ()):
            part, index = self._locate(row)
            known = _as_path(part.names[index])
            common = _common_suffix(known.parts, asked.parts)
            if known.is_absolute() or common == min(len(known.parts), len(asked.parts)):
                agreeing[common].append(row)
        if not agreeing:
            near = get_close_matches(asked.name, self._by_file_name, n=_NEAREST)
            raise UnknownVectorError(
                f"{self.id!r} has no vector for {name!r}; it knows {self._starts[-1]} images, nearest: "
                f"{', '.join(map(repr, near)) or 'none'}"
            )
        best = agreeing[max(agreeing)]
        if len(best) > 1:
            raise UnknownVectorError(
                f"{self.id!r} has {len(best)} vectors for the path {name!r}; give more of the path, or unique names"
            )
        return best[0]


class PrecomputedPair(PrecomputedImages):
    """Image vectors by path and concept vectors by name, in one space."""

    def __init__(self, encoder_id: str, parts: Sequence[_Part], concepts: _Part, placement: Placement) -> None:
        super().__init__(encoder_id, parts, placement)
        self.text_dim = self.image_dim
        self.vocabulary = tuple(concepts.names)
        self._rows = {_key(name): row for row, name in enumerate(concepts.names)}
        vectors = torch.from_numpy(concepts.rows.astype(np.float32))
        self._concepts = normalize(vectors).to(self.device)

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Map n concept names, in any case, to their unit rows (n, text_dim) float32 on ``device``.

        Raises UnknownVectorError, naming the nearest concepts, for any other text.
        """
        for text in texts:
            if _key(text) not in self._rows:
                near = get_close_matches(_key(text), self._rows, n=_NEAREST)
                raise UnknownVectorError(
                    f"{self.id!r} has no vector for the text {text!r}; it knows {len(self._rows)} concepts, nearest: "
                    f"{', '.join(map(repr, near)) or 'none'}"
                )
        return self._concepts[[self._rows[_key(text)] for text in texts]]


def load(spec: str, *, device: Device, dtype: Dtype) -> PrecomputedImages | PrecomputedPair:
    """Open a folder of vectors; the files stay on disk, mapped into memory.

    Raises UnknownEncoderError when there is no such folder, EncoderError when its files do not belong together.
    """
    folder = local_folder(f"precomputed:{spec}", spec)
    encoder_id = f"precomputed:{folder}"
    parts = _image_parts(encoder_id, folder)
    placement = Placement.choose(device, dtype)
    if not (folder / "concept_embeddings.npy").is_file():
        return PrecomputedImages(encoder_id, parts, placement)
    concepts = _named_rows(encoder_id, folder / "concept_embeddings.npy", folder / "concept_names.txt")
    _check_same_dim(encoder_id, [*parts, concepts])
    return PrecomputedPair(encoder_id, parts, concepts, placement)


def _image_parts(encoder_id: str, folder: Path) -> list[_Part]:
    files = vector_files(folder)
    if not files:
        raise EncoderError(
            f"{encoder_id!r} holds no vectors: expected image_embeddings.npy and image_names.txt, "
            "or img_emb_N.npy and metadata_N.parquet"
        )
    parts = [_named_rows(encoder_id, vectors, names) for vectors, names in files.items()]
    _check_same_dim(encoder_id, parts)
    return parts


def _named_rows(encoder_id: str, vectors: Path, names: Path) -> _Part:
    """Open an .npy file of rows with the file of their names."""
    if not names.is_file():
        raise EncoderError(f"{encoder_id!r}: {vectors.name} needs {names.name} beside it for the names of its rows")
    try:
        rows = np.load(vectors, mmap_mode="r", allow_pickle=False)
        known = read_names(names)
    except (OSError, ValueError, KeyError) as exc:
        raise EncoderError(f"{encoder_id!r}: {vectors.name} with {names.name} cannot be read: {exc}") from exc
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating):
        raise EncoderError(f"{encoder_id!r}: {vectors.name} is {rows.dtype} {rows.shape}, expected floats (n, d)")
    if len(known) != len(rows):
        raise EncoderError(f"{encoder_id!r}: {vectors.name} has {len(rows)} rows, {names.name} {len(known)} names")
    return _Part(vectors, rows, known)


def _check_same_dim(encoder_id: str, parts: Sequence[_Part]) -> None:
    dims = {part.path.name: part.rows.shape[1] for part in parts}
    if len(set(dims.values())) > 1:
        raise EncoderError(f"{encoder_id!r} mixes dimensions, so the vectors are not of one model: {dims}")


def _as_path(name: str) -> PurePath:
    """Take the container of an image for the folder it lies in, and letters in Unicode's NFC."""
    return PurePath(unicodedata.normalize("NFC", name).replace(_MEMBER, "/"))


def _common_suffix(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the trailing parts that two paths share."""
    shared = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        shared += 1
    return shared


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
