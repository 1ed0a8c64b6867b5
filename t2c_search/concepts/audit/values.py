"""Values of a field that the pictures contradict, and values that cannot be told apart.

Three witnesses say which value an image has, none of which has seen that image with its own value: the values' names (zero-shot,
where their texts can be embedded), its nearest neighbours, and a linear probe fitted on other images (cross-validated). They
are combined as a product of experts, p(c) ~ exp(b_c + sum of w_k log p_k(c)), whose few weights are the likeliest given the
values as they stand, so that a witness who knows nothing has no say. An image counts where another value is twice as likely
as its own, and at least as likely as it usually is for the images that have that value (confident learning; Northcutt, Jiang
and Chuang, JAIR 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.audit.findings import Finding, Floats, figures
from t2c_search.concepts.audit.neighbours import Neighbours
from t2c_search.concepts.audit.reading import NO_VALUE, Chosen, Known
from t2c_search.errors import T2CError
from t2c_search.types import CLIP, FloatArray, Points, unit_rows

FEWEST = 5
"""Images of a value below which it is not audited: too few to say what it looks like."""
FITTED = 10_000
"""Images that the probe and the weights are fitted on: the first by id, a random sample."""
MUTUAL = 0.25
"""Share of the images of either value that look more like the other, from which two values cannot be told apart: half way
from certainty (0) to chance (0.5)."""
TIMES = 2.0
"""How many times as likely as the own value another must be: where pictures hardly tell the values, none is."""
_FOLDS = 5
_STRENGTHS = (0.001, 0.01, 0.1)  # of the probe, on standardised features; the likeliest held-out values choose
_SHARPNESS = 10.0  # of centred cosines as logits; the weights have the last word
_LEAST = 1e-12
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Of n images with a value: probability of their own, the likeliest value of all and its probability."""

    places: Codes
    own: Floats
    likeliest: Codes
    probability: Floats


class Witnesses:
    """The three of them, fitted on the first images that have a value with enough images."""

    def __init__(self, chosen: Chosen, known: Known, near: Neighbours) -> None:
        counts = np.bincount(known.codes[known.codes != NO_VALUE], minlength=len(known.names))
        self.audited = np.flatnonzero(counts >= FEWEST)
        self.counts = counts[self.audited]
        self.names = [known.names[code] for code in self.audited]
        self._chosen, self._known, self._near = chosen, known, near
        self._renamed = np.full(len(known.names) + 1, NO_VALUE)  # the last stands for no value
        self._renamed[self.audited] = np.arange(len(self.audited))
        self.codes = self._renamed[known.codes]
        self._at = {point_id: place for place, point_id in enumerate(known.ids)}
        self.texts, self.untold = self._embedded_names()

    def fit(self) -> None:
        """Fit the probe and the weights."""
        places, rows, clip = self._first()
        self._fitted = {int(place): row for row, place in enumerate(places)}
        self._probe = Probe(rows, self.codes[places], len(self.names))
        said = self._say(places, self._probe.held_out, clip)
        self._weights, self._bias = fit_weights(said, self.codes[places])

    @property
    def held_out(self) -> Floats:
        """The probe's held-out log-probabilities (n, c) of the images that it was fitted on, in their order."""
        return self._probe.held_out

    def judge(self) -> tuple[Judged, Floats]:
        """Judge all images with a value; and (c, c): the share of the row's images that look more like the column."""
        classes = len(self.names)
        rather = np.zeros((classes, classes))
        parts: list[Judged] = []
        for points in self._read():
            places, codes, kept = self._with_value(points)
            if not len(places):
                continue
            rows = unit_rows(points.vectors[self._known.vector][kept])
            probed = self._probe.predict(rows, [self._fitted.get(int(place)) for place in places])
            p = combined(self._say(places, probed, points.vectors[CLIP][kept]), self._weights, self._bias)
            own = p[np.arange(len(p)), codes]
            np.add.at(rather, codes, p > own[:, None])
            best = p.argmax(axis=1)
            parts.append(Judged(places, own, best, p[np.arange(len(p)), best]))
        joined = (np.concatenate([getattr(part, name) for part in parts]) for name in Judged.__slots__)
        return Judged(*joined), rather / self.counts[:, None]

    def _read(self) -> Any:
        return self._chosen.read([*dict.fromkeys((CLIP, self._known.vector))], ())

    def _with_value(self, points: Points) -> tuple[Codes, Codes, list[int]]:
        kept = [row for row, point_id in enumerate(points.ids) if point_id in self._at]
        kept = [row for row in kept if self.codes[self._at[points.ids[row]]] != NO_VALUE]
        places = np.array([self._at[points.ids[row]] for row in kept], np.int64)
        return places, self.codes[places], kept

    def _first(self) -> tuple[Codes, FloatArray, FloatArray]:
        """Return places, rows of the audited vector and rows in CLIP space of the first images with a value."""
        taken: list[tuple[Codes, FloatArray, FloatArray]] = []
        for points in self._read():
            places, _, kept = self._with_value(points)
            taken.append((places, unit_rows(points.vectors[self._known.vector][kept]), points.vectors[CLIP][kept]))
            if sum(len(part[0]) for part in taken) >= FITTED:
                break
        places, rows, clip = (np.concatenate(parts)[:FITTED] for parts in zip(*taken, strict=True))
        return places, rows, clip

    def _embedded_names(self) -> tuple[FloatArray | None, str]:
        """Return the names' centred unit rows (c, d), and why there are none."""
        try:
            rows = self._chosen.searcher.texts.rows([name.replace("_", " ") for name in self.names])
        except T2CError as exc:
            return None, str(exc)
        return unit_rows(rows - rows.mean(axis=0)), ""

    def _say(self, places: Codes, probed: Floats, clip: FloatArray) -> tuple[Floats, ...]:
        said = [probed, self._voted(places)]
        if self.texts is not None:
            centred = unit_rows(unit_rows(clip) - self._chosen.searcher.calibration.mean.astype(np.float32))
            said.append(log_softmax(_SHARPNESS * (centred @ self.texts.T).astype(np.float64)))
        return tuple(said)

    def _voted(self, places: Codes) -> Floats:
        """Return the logarithm of the neighbours' shares, with one vote more that is spread as the values are."""
        votes = np.tile(self.counts / self.counts.sum(), (len(places), 1))
        near = self._near.places[places]
        codes = np.where(near >= 0, self.codes[near], NO_VALUE)
        row, rank = np.nonzero(codes != NO_VALUE)
        np.add.at(votes, (row, codes[row, rank]), 1)
        shares: Floats = np.log(votes / votes.sum(axis=1, keepdims=True))
        return shares


class Probe:
    """A logistic regression for each fold, fitted on the other folds; ``held_out`` are log-probabilities (n, c) of its images."""

    def __init__(self, rows: FloatArray, codes: Codes, classes: int) -> None:
        self._classes = classes
        self._mean, self._sd = rows.mean(axis=0), rows.std(axis=0) + 1e-6
        self._folds = np.arange(len(rows)) % _FOLDS  # in order of id, which is random
        scaled = (rows - self._mean) / self._sd
        tried = [self._fit(scaled, codes, strength) for strength in _STRENGTHS]
        likelihood = [held_out[np.arange(len(codes)), codes].mean() for _, held_out in tried]
        self._models, self.held_out = tried[int(np.argmax(likelihood))]

    def predict(self, rows: FloatArray, fitted: list[int | None]) -> Floats:
        """Return log-probabilities (n, c): held-out ones of the images it was ``fitted`` on, else the folds' mean."""
        new = [row for row, place in enumerate(fitted) if place is None]
        found = np.empty((len(rows), self._classes))
        found[[row for row, place in enumerate(fitted) if place is not None]] = self.held_out[
            [place for place in fitted if place is not None]
        ]
        if new:
            scaled = (rows[new] - self._mean) / self._sd
            found[new] = np.log(np.mean([self._probabilities(model, scaled) for model in self._models], axis=0))
        return found

    def _fit(self, scaled: FloatArray, codes: Codes, strength: float) -> tuple[list[Any], Floats]:
        from sklearn.linear_model import LogisticRegression

        models = []
        held_out = np.empty((len(codes), self._classes))
        for fold in range(_FOLDS):
            out = self._folds == fold
            model = LogisticRegression(C=strength, max_iter=100, tol=1e-3)
            models.append(model.fit(scaled[~out], codes[~out]))
            held_out[out] = np.log(self._probabilities(model, scaled[out]))
        return models, held_out

    def _probabilities(self, model: Any, scaled: FloatArray) -> Floats:
        """Return probabilities (n, c), with next to nothing for values that a fold lacked."""
        found = np.full((len(scaled), self._classes), _LEAST)
        found[:, model.classes_] = np.maximum(model.predict_proba(scaled), _LEAST)
        return found


def fit_weights(said: tuple[Floats, ...], codes: Codes) -> tuple[Floats, Floats]:
    """Return the likeliest weights (k,) of k witnesses and biases (c,) of the values, by their log-probabilities (n, c)."""
    from scipy.optimize import minimize

    stacked = np.stack(said, axis=-1)
    rows = np.arange(len(codes))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, bias = np.split(parameters, [len(said)])
        p = log_softmax(stacked @ weights + bias)
        error = np.exp(p)
        error[rows, codes] -= 1
        slope = np.concatenate([np.einsum("nck,nc->k", stacked, error), error.sum(axis=0)])
        return -float(p[rows, codes].mean()), slope / len(codes)

    start = np.concatenate([np.full(len(said), 1 / len(said)), np.zeros(stacked.shape[1])])
    bounds = [(0, None)] * len(said) + [(None, None)] * stacked.shape[1]
    weights, bias = np.split(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x, [len(said)])
    return weights, bias


def combined(said: tuple[Floats, ...], weights: Floats, bias: Floats) -> Floats:
    """Return the product of experts: probabilities (n, c)."""
    p: Floats = np.exp(log_softmax(np.stack(said, axis=-1) @ weights + bias))
    return p


def log_softmax(logits: Floats) -> Floats:
    """Return the logarithm of the softmax along the last axis."""
    from scipy.special import log_softmax as of

    found: Floats = of(logits, axis=-1)
    return found


def find_contradicted(chosen: Chosen, known: Known, near: Neighbours) -> tuple[list[Finding], list[str]]:
    """Return images whose value the witnesses contradict, pairs of values that they cannot tell apart, and notes."""
    witnesses = Witnesses(chosen, known, near)
    notes = []
    if left := len(known.names) - len(witnesses.names):
        notes.append(f"{left} values of {chosen.field} have fewer than {FEWEST} images each, and were not audited.")
    if len(witnesses.names) < 2:
        return [], notes
    if witnesses.texts is None:
        notes.append(f"The values' names had no say: {witnesses.untold}")
    witnesses.fit()
    judged, rather = witnesses.judge()
    return _contradicted(known, witnesses, judged) + _alike(known, witnesses, judged, rather), notes


def _contradicted(known: Known, witnesses: Witnesses, judged: Judged) -> list[Finding]:
    codes = witnesses.codes[judged.places]
    usual = np.bincount(codes, judged.own, minlength=len(witnesses.names)) / witnesses.counts
    sure = (judged.probability >= TIMES * judged.own) & (judged.probability >= usual[judged.likeliest])
    return [
        Finding(
            "value",
            0,
            round(1 - float(judged.own[row]), 4),
            known.ids[judged.places[row]],
            own=witnesses.names[codes[row]],
            suggested=witnesses.names[judged.likeliest[row]],
            figures=figures(own=judged.own[row], suggested=judged.probability[row]),
        )
        for row in np.flatnonzero(sure)
    ]


def _alike(known: Known, witnesses: Witnesses, judged: Judged, rather: Floats) -> list[Finding]:
    """Return pairs of values whose confusion is mutual, each with the image of one that looks most like the other."""
    mutual = np.minimum(rather, rather.T)
    found = []
    for one, two in np.argwhere(np.triu(mutual >= MUTUAL, 1)):
        shown, other = _example(witnesses, judged, one, two), _example(witnesses, judged, two, one)
        names = witnesses.names[one], witnesses.names[two]
        shares = figures(own_like_suggested=rather[one, two], suggested_like_own=rather[two, one])
        score = round(float(mutual[one, two]), 4)
        found.append(Finding("alike", 0, score, known.ids[shown], "", *names, other=known.ids[other], figures=shares))
    return found


def _example(witnesses: Witnesses, judged: Judged, one: int, two: int) -> int:
    """Return the place of the image of one value that is likeliest another, or least itself where none is."""
    rows = np.flatnonzero(witnesses.codes[judged.places] == one)
    like = np.where(judged.likeliest[rows] == two, judged.probability[rows], 0)
    return int(judged.places[rows[np.lexsort((judged.own[rows], -like))[0]]])
