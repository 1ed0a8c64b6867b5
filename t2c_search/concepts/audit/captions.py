"""Captions that do not fit their picture: what the picture and its caption say of each other, against all others.

A plain cosine does not tell a wrong caption from a right one of a dull picture: some pictures are near to every text, and some
texts, short and general ones, to every picture. So both are taken off, as cross-domain similarity local scaling does
(CSLS; Conneau et al., "Word translation without parallel data", ICLR 2018, equation 5): of a picture x and a caption t

    csls(x, t) = 2 cos(x, t) - r(x) - r(t),

where r(x) is the mean cosine of the picture with the ``_NEAREST`` other pictures' captions that fit it best, and r(t) that of the
caption with the pictures that fit it best. It is 0 where the own partner is as good as the best of others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.audit.findings import Finding, Floats, figures, robust_z
from t2c_search.concepts.audit.reading import Chosen
from t2c_search.concepts.vocabulary import captions_of
from t2c_search.decoding.metadata import CAPTIONS
from t2c_search.types import CLIP, FloatArray, Points, unit_rows

REFERENCES = 4096
"""Pictures, with their captions, that all are compared with: the first by id, which are a random sample, as ids are hashes."""
STRAY_FROM = 3
"""Captions of a picture from which one is compared with the others."""
UNFIT = 3.0
"""Robust standard deviations below the median from which a picture's captions, or one caption among several, do not fit."""
_NEAREST = 10
_MOST = 20  # captions of one picture that are read


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Pictures with captions: ids, unit rows (n, d), and m captions with their unit rows (m, d) and pictures (m,)."""

    ids: list[str]
    pictures: FloatArray
    texts: list[str]
    rows: FloatArray
    of: npt.NDArray[np.int64]

    @property
    def means(self) -> FloatArray:
        """The sum of each picture's captions (n, d), of any length."""
        return np.stack([self.rows[self.of == at].sum(axis=0) for at in range(len(self.ids))])


@dataclass(slots=True, eq=False)
class Scores:
    """What is known of each picture with captions, and of each caption of several."""

    ids: list[str]
    fit: list[float]
    cosine: list[float]
    worst: list[str]
    best: list[str]
    stray: list[tuple[str, str, float, float]]
    """Id, caption, its csls with the picture, and that with the picture's other captions."""

    def strays(self) -> list[tuple[str, str, float, float]]:
        """Return id and caption of each caption among several, with both measures in robust standard deviations."""
        picture, others = (robust_z(np.array([each[place] for each in self.stray], np.float64)) for place in (2, 3))
        pairs = zip(self.stray, picture, others, strict=True)
        return [(each[0], each[1], float(one), float(other)) for each, one, other in pairs]


def find_unfit_captions(chosen: Chosen) -> list[Finding]:
    """Return pictures whose captions together do not fit, and single captions that fit neither picture nor the others.

    ``own`` is the caption that fits worst, ``suggested`` one of another picture that fits best, for ``caption`` findings.
    The scores are robust standard deviations below the median of all.
    """
    scores = score_captions(chosen)
    return _unfit(scores) + _stray(scores)


def score_captions(chosen: Chosen) -> Scores:
    """Return what is known of all pictures with captions; nothing where they are too few to compare with."""
    scores = Scores([], [], [], [], [], [])
    reference = _joined(chosen)
    if reference is not None and len(reference.ids) > _NEAREST:
        for batch in _batches(chosen):
            _score(batch, reference, scores)
    return scores


def _batches(chosen: Chosen) -> Iterator[_Batch]:
    for points in chosen.read((CLIP,), (CAPTIONS,)):
        batch = _captioned(chosen, points)
        if batch is not None:
            yield batch


def _captioned(chosen: Chosen, points: Points) -> _Batch | None:
    rows: list[int] = []
    texts: list[str] = []
    of: list[int] = []
    for row, payload in enumerate(points.payloads):
        if captions := [text for text in captions_of(payload) if text.strip()][:_MOST]:
            of += [len(rows)] * len(captions)
            rows.append(row)
            texts += captions
    if not rows:
        return None
    embedded = chosen.searcher.texts.whole(texts)
    pictures = unit_rows(points.vectors[CLIP][rows])
    return _Batch([points.ids[row] for row in rows], pictures, texts, embedded, np.array(of, np.int64))


def _joined(chosen: Chosen) -> _Batch | None:
    """Return the first pictures with captions as one batch."""
    taken: list[_Batch] = []
    for batch in _batches(chosen):
        taken.append(batch)
        if sum(len(each.ids) for each in taken) >= REFERENCES:
            break
    if not taken:
        return None
    starts = np.cumsum([0, *(len(each.ids) for each in taken)])
    return _Batch(
        [point_id for each in taken for point_id in each.ids],
        np.concatenate([each.pictures for each in taken]),
        [text for each in taken for text in each.texts],
        np.concatenate([each.rows for each in taken]),
        np.concatenate([each.of + start for each, start in zip(taken, starts, strict=False)]),
    )


def _score(batch: _Batch, reference: _Batch, scores: Scores) -> None:
    """Score the captions of a batch against the reference, the own ones left out."""
    at = {point_id: place for place, point_id in enumerate(reference.ids)}
    own = np.array([at.get(point_id, -1) for point_id in batch.ids])
    of_picture, best = _local(batch.pictures, reference.rows, own[:, None] == reference.of[None, :])
    of_text, _ = _local(batch.rows, reference.pictures, own[batch.of][:, None] == np.arange(len(reference.ids)))
    cosine = np.einsum("nd,nd->n", batch.pictures[batch.of], batch.rows).astype(np.float64)
    fits = 2 * cosine - of_picture[batch.of] - of_text
    sums = batch.means
    told = unit_rows(reference.means)
    mine = own[:, None] == np.arange(len(told))
    of_told, _ = _local(batch.rows, told, mine[batch.of])
    of_sums, _ = _local(unit_rows(sums), reference.rows, own[:, None] == reference.of[None, :])
    others = unit_rows(sums[batch.of] - batch.rows)
    agree = 2 * np.einsum("nd,nd->n", others, batch.rows).astype(np.float64) - of_told - of_sums[batch.of]
    for picture, point_id in enumerate(batch.ids):
        captions = np.flatnonzero(batch.of == picture)
        scores.ids.append(point_id)
        scores.fit.append(float(fits[captions].mean()))
        scores.cosine.append(float(cosine[captions].mean()))
        scores.worst.append(batch.texts[captions[np.argmin(fits[captions])]])
        if len(captions) >= STRAY_FROM:
            scores.stray += [(point_id, batch.texts[each], float(fits[each]), float(agree[each])) for each in captions]
    scores.best += [reference.texts[place] for place in best]


def _local(rows: FloatArray, others: FloatArray, own: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the mean cosine of each row with the ``_NEAREST`` best of the others (n,), and which is the best of all."""
    cosines = np.where(own, -np.inf, rows @ others.T)
    best = np.argpartition(-cosines, _NEAREST - 1, axis=1)[:, :_NEAREST]
    values = np.take_along_axis(cosines, best, 1)
    top = np.take_along_axis(best, values.argmax(axis=1)[:, None], 1)[:, 0]
    return np.where(np.isfinite(values), values, 0).mean(axis=1).astype(np.float64), top


def _unfit(scores: Scores) -> list[Finding]:
    z = -robust_z(np.array(scores.fit, np.float64))
    return [
        Finding(
            "caption",
            0,
            round(float(z[at]), 3),
            scores.ids[at],
            own=scores.worst[at],
            suggested=scores.best[at],
            figures=figures(cosine=scores.cosine[at], against_others=scores.fit[at]),
        )
        for at in np.flatnonzero(z >= UNFIT)
    ]


def _stray(scores: Scores) -> list[Finding]:
    """Both witnesses count alike, each in its own standard deviations; neither may speak for the caption."""
    return [
        Finding(
            "stray caption",
            0,
            round(-(picture + others) / math.sqrt(2), 3),
            point_id,
            own=caption,
            figures=figures(picture=picture, other_captions=others),
        )
        for point_id, caption, picture, others in scores.strays()
        if picture < 0 and others <= -UNFIT
    ]
