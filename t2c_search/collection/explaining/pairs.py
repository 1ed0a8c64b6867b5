"""Regions in words, and what two images or two texts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from t2c_search.collection.explaining.hits import id_of
from t2c_search.collection.explaining.sources import places_of
from t2c_search.collection.removing import is_id
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.explain.explainer import Placed, with_vector
from t2c_search.explain.grounding import FINE, inside_boxes
from t2c_search.explain.pairs import (
    ImageMatch,
    RegionWord,
    RegionWords,
    TextMatch,
    centred_parts,
    shares_of_places,
)
from t2c_search.explain.view import View
from t2c_search.explain.words import word_parts
from t2c_search.sources.arguments import check_counts
from t2c_search.types import CLIP

Region = Sequence[float] | npt.NDArray[np.bool_]
"""A box (left, top, right, bottom) in pixels of the upright image, or a mask (height, width) of booleans over it."""


class ExplainingPairs:
    """Regions in words, and what two images or two texts have in common."""

    _snapshots: Snapshots

    def explain_region(
        self,
        image: str | Path,
        region: Region,
        *,
        vocabulary: str | Path | Sequence[str] | Vocabulary | None = None,
        words: int = 8,
        method: str = "auto",
    ) -> RegionWords:
        """Say in words what a region of a collection's image shows: those to which it gives most.

        The ``image`` is a path or an id; the region a box (left, top, right, bottom) in pixels of the upright image, or a mask
        (height, width) of booleans over it. The vocabulary is as for ``describe``. Raises UsageError for an image that the
        collection does not have, and for a region that holds nothing of what the model sees.
        """
        check_counts(words=words)
        return self._snapshots.ask(
            lambda now: _in_words(now, _placed(now, image, method), region, now.vocabulary(vocabulary), words)
        )

    def match_images(self, one: str | Path, other: str | Path, *, method: str = "auto") -> ImageMatch:
        """Say which places of two of the collection's images, by paths or ids, make them alike or unlike."""

        def answer(now: Snapshot) -> ImageMatch:
            found = [_placed(now, image, method) for image in (one, other)]
            centre = now.searcher().calibration.mean
            parts = [centred_parts(placed.factors, centre) for _, placed in found]
            lengths = [float(np.linalg.norm(each.sum(axis=0))) for each in parts]
            matrix = (parts[0] @ parts[1].T / (lengths[0] * lengths[1])).astype(np.float32)
            (first, second) = (placed for _, placed in found)
            return ImageMatch(
                (found[0][0], found[1][0]),
                float(matrix.sum(dtype=np.float64)),
                matrix,
                (first.factors.grid, second.factors.grid),
                (first.view, second.view),
            )

        return self._snapshots.ask(answer)

    def match_texts(self, one: str, other: str) -> TextMatch:
        """Say which words of two texts make them alike to the collection's text model.

        Raises UsageError for a text model that takes its own texts only.
        """

        def answer(now: Snapshot) -> TextMatch:
            _ = now.models.text
            texts = now.searcher().texts
            if not texts.free_text:
                raise UsageError(
                    "the collection's text model knows its own texts only, whose words cannot be told apart"
                )
            (words, parts), (others, other_parts) = (word_parts(texts, text) for text in (one, other))
            rows = texts.rows((one, other)).astype(np.float64)
            matrix = (parts @ other_parts.T).astype(np.float32)
            return TextMatch((one, other), float(rows[0] @ rows[1]), (tuple(words), tuple(others)), matrix)

        return self._snapshots.ask(answer)


def _placed(now: Snapshot, image: str | Path, method: str) -> tuple[str, Placed]:
    """Return the path and the factors of an image, about its stored vector."""
    point = str(image) if is_id(str(image)) else id_of(str(image))
    points = now.store.fetch([point], vectors=(CLIP,))
    if not len(points):
        raise UsageError(f"the collection has no image at {image}")
    path = str(points.payloads[0].get("path", ""))
    placed = places_of(now, method)(points.ids[0], path)
    return path, Placed(with_vector(placed.factors, points.vectors[CLIP][0]), placed.view, placed.size)


def _in_words(
    now: Snapshot, found: tuple[str, Placed], region: Region, vocabulary: Vocabulary, words: int
) -> RegionWords:
    path, placed = found
    calibration, texts = now.searcher().calibration, now.searcher().texts
    rows = texts.rows(vocabulary.names).astype(np.float64)
    sds = np.sqrt(np.maximum(np.einsum("vd,de,ve->v", rows, calibration.covariance, rows, optimize=True), 1e-12))
    shares = shares_of_places(_inside(region, placed).astype(np.float64), placed.factors.grid)
    if not shares.any():
        raise UsageError(
            f"the region holds nothing of what the model sees of {path}, {placed.size[0]} x {placed.size[1]} pixels"
        )
    parts = centred_parts(placed.factors, calibration.mean)
    given, whole = rows @ (shares @ parts) / sds, rows @ parts.sum(axis=0) / sds
    best = np.argsort(-given, kind="stable")[:words]
    told = (RegionWord(vocabulary.names[at], float(given[at]), float(whole[at] - given[at])) for at in best)
    return RegionWords(path, float(shares.mean()), tuple(told))


def _inside(region: Region, placed: Placed) -> npt.NDArray[np.bool_]:
    """Return which fine fields of the view lie in a region. Raises UsageError for what is none."""
    width, height = placed.size
    if isinstance(region, np.ndarray) and region.ndim == 2:
        if region.shape != (height, width):
            raise UsageError(
                f"the mask is {region.shape[1]} x {region.shape[0]} pixels, the upright image {width} x {height}"
            )
        return _sampled(region.astype(bool), placed.view)
    try:
        left, top, right, bottom = (float(each) for each in region)
    except (TypeError, ValueError) as exc:
        raise UsageError(f"{region!r} is no region: expected left, top, right and bottom in pixels, or a mask") from exc
    return inside_boxes([(left / width, top / height, right / width, bottom / height)], placed.view)


def _sampled(mask: npt.NDArray[np.bool_], view: View) -> npt.NDArray[np.bool_]:
    at = (np.arange(FINE) + 0.5) / FINE
    rows = np.floor((view.top + at * (view.bottom - view.top)) * mask.shape[0]).astype(int)
    columns = np.floor((view.left + at * (view.right - view.left)) * mask.shape[1]).astype(int)
    there = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & ((columns >= 0) & (columns < mask.shape[1]))
    found = mask[rows.clip(0, mask.shape[0] - 1)][:, columns.clip(0, mask.shape[1] - 1)]
    return np.asarray(found & there)
