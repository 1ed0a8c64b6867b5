"""Paired embeddings -> Aligner: closed-form ridge from streaming moments, chosen by what it does on held-out pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor, zeros_like
from torch.nn.functional import normalize

from t2c_search.alignment.aligner import TRANSFORMS, Aligner, Transform, place_on_sphere
from t2c_search.alignment.evaluation import centred, concept_fidelity, mean_cosine, r2_per_dimension, recall
from t2c_search.alignment.held_out import PairSplit
from t2c_search.alignment.report import FitReport
from t2c_search.alignment.ridge import RidgeSpectrum
from t2c_search.errors import AlignmentError, UsageError
from t2c_search.types import EncoderRef

__all__ = [
    "CRITERIA",
    "DEFAULT_METHOD",
    "METHODS",
    "FitRecipe",
    "FitReport",
    "Method",
    "Trial",
    "add_pairs",
    "choose_criterion",
    "fit_aligner",
    "fit_split",
]

MIN_PAIRS = 20  # fewer leave less than four to choose by
STRENGTHS = tuple(10 ** (power / 2) for power in range(4, -9, -1))  # strongest first: of equals the stronger is chosen

Pairs = Iterable[tuple[Sequence[str], Tensor, Tensor]]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Method:
    """A family of maps to choose from.

    ``restorations``: how much of the variance lost to shrinkage may be given back. ``keeps_mean_component``: whether
    predictions are placed on the sphere along the mean of the true rows, or plainly normalised.
    """

    transform: Transform
    restorations: tuple[float, ...]
    keeps_mean_component: bool


METHODS: dict[str, Method] = {
    "ridge": Method("identity", (0.0,), keeps_mean_component=False),
    "spherical-ridge": Method("unit", (0.0, 0.5, 1.0), keeps_mean_component=True),
}
DEFAULT_METHOD = "spherical-ridge"


@dataclass(frozen=True, slots=True, eq=False)
class FitRecipe:
    """Which maps a fit tries, and by what it chooses among them.

    ``criterion`` is ``concept-fidelity``, ``retrieval`` (mean-centred recall@1), ``r2``, or ``auto``: the first where
    ``concepts``, unit text vectors (v, d_clip), are given, else the second. ``method`` is one of ``METHODS``:
    ``spherical-ridge`` is ridge regression on L2-normalised features; then each principal direction of the CLIP rows is
    scaled to restore the variance that shrinkage took (not, half or fully); then ``place_on_sphere``. ``ridge`` is the
    affine map of the features as they come (Text-to-Concept, arXiv 2305.06386), in closed form, then normalised.
    """

    criterion: str = "auto"
    concepts: Tensor | None = None
    method: str = DEFAULT_METHOD


_DEFAULT = FitRecipe()


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """The pairs (h, d) that maps are compared on, and the concepts that may be asked of them."""

    x: Tensor
    y: Tensor
    concepts: Tensor | None


@dataclass(frozen=True, slots=True)
class Trial:
    """One map's outcome on the held-out pairs, (h, d_clip) each: affine predictions, unit rows, and the true rows."""

    strength: float
    restoration: float
    predicted: Tensor
    rows: Tensor
    true: Tensor
    concepts: Tensor | None

    @property
    def fidelity(self) -> float | None:
        """Concept fidelity; None without concepts."""
        return None if self.concepts is None else concept_fidelity(self.rows, self.true, self.concepts)

    @property
    def r2(self) -> float:
        """Per-dimension R2 of the affine part."""
        return r2_per_dimension(self.predicted, self.true)

    def recall(self, k: int, *, centre: bool = False) -> float:
        """Recall@k of aligned -> true."""
        return recall(centred(self.rows), centred(self.true), k) if centre else recall(self.rows, self.true, k)


CRITERIA: dict[str, Callable[[Trial], float]] = {
    "concept-fidelity": lambda trial: trial.fidelity or 0.0,
    "retrieval": lambda trial: trial.recall(1, centre=True),
    "r2": lambda trial: trial.r2,
}


def fit_aligner(
    pairs: Pairs,
    *,
    backbone: EncoderRef,
    clip: EncoderRef,
    recipe: FitRecipe = _DEFAULT,
) -> tuple[Aligner, FitReport]:
    """Fit the map (n, d_backbone) -> unit rows (n, d_clip) on batches of ids, backbone rows and CLIP rows.

    One pass, in memory that does not depend on n. A fifth of the pairs, at most 2,048, chosen by a hash of their ids,
    is held out; strength and restoration are those that serve the recipe's criterion best there, and the map is then
    fitted again on all pairs. CLIP rows need not be unit.

    Raises AlignmentError on fewer than 20 pairs and on rows that do not fit the models or are not finite; UsageError on
    an unknown method or criterion.
    """
    started = time.perf_counter()
    _choose(METHODS, recipe.method, "method")
    choose_criterion(recipe.criterion, has_texts=recipe.concepts is not None, clip=clip)  # before what takes long
    split = PairSplit()
    add_pairs(split, pairs, backbone=backbone, clip=clip, method=recipe.method)
    return fit_split(split, backbone=backbone, clip=clip, recipe=recipe, started=started)


def add_pairs(
    split: PairSplit, pairs: Pairs, *, backbone: EncoderRef, clip: EncoderRef, method: str = DEFAULT_METHOD
) -> None:
    """Add batches of ids, backbone rows and CLIP rows to the pairs that a fit by this method is made of.

    Splits that were filled in several places are merged before the fit. Raises AlignmentError on rows that do not fit
    the models or are not finite, UsageError on an unknown method.
    """
    transform = _choose(METHODS, method, "method").transform
    for ids, x, y in _features(pairs, transform, backbone, clip):
        split.add(ids, x, y)


def fit_split(
    split: PairSplit,
    *,
    backbone: EncoderRef,
    clip: EncoderRef,
    recipe: FitRecipe = _DEFAULT,
    started: float,
) -> tuple[Aligner, FitReport]:
    """Fit as ``fit_aligner`` does, on pairs that ``add_pairs`` took in; nothing can be added to them afterwards.

    ``started``, by ``time.perf_counter``, is when the fit began, for its report. Raises AlignmentError on fewer than 20
    pairs, UsageError on an unknown method or criterion.
    """
    method = _choose(METHODS, recipe.method, "method")
    criterion = choose_criterion(recipe.criterion, has_texts=recipe.concepts is not None, clip=clip)
    if split.count < MIN_PAIRS:
        raise AlignmentError(
            f"{split.count} images went through both models, a fit takes at least {MIN_PAIRS}: give it more"
        )
    moments, x, y = split.finish()
    assert moments is not None
    spectrum = RidgeSpectrum(moments)
    texts = None if recipe.concepts is None else recipe.concepts.to(y)
    trials = _trials(spectrum, method, _axis(moments.mean_y, method), _HeldOut(x, y, texts))
    best = max(trials, key=CRITERIA[criterion])
    training_r2 = spectrum.pooled_r2(best.strength, best.restoration)

    moments.add(x, y)
    weight, bias = RidgeSpectrum(moments).affine(best.strength, best.restoration)
    used = replace(recipe, criterion=criterion)
    report = _report(used, best, moments.count, training_r2, time.perf_counter() - started)
    weight, bias, axis = (part.float().cpu() for part in (weight, bias, _axis(moments.mean_y, method)))
    return Aligner(backbone, clip, method.transform, weight, bias, axis, report), report


def choose_criterion(name: str, *, has_texts: bool, clip: EncoderRef) -> str:
    """Return the criterion that ``auto`` stands for, or the one named.

    Raises UsageError on an unknown one, and on one that needs texts where the CLIP model has no text side.
    """
    if name == "auto":
        name = "concept-fidelity" if has_texts else "retrieval"
    _choose(CRITERIA, name, "criterion")
    if name == "concept-fidelity" and not has_texts:
        raise UsageError(
            f"criterion {name!r} needs texts, and {clip.id!r} has no text side: choose 'retrieval' or 'r2'"
        )
    return name


def _choose(known: Mapping[str, _T], name: str, what: str) -> _T:
    if name not in known:
        raise UsageError(f"there is no {what} {name!r} to fit an aligner; known: {', '.join(known)}")
    return known[name]


def _features(
    pairs: Pairs, transform: Transform, backbone: EncoderRef, clip: EncoderRef
) -> Iterator[tuple[Sequence[str], Tensor, Tensor]]:
    """Yield the pairs as they are fitted: transformed features and unit CLIP rows, float32, where float64 works too."""
    for ids, x, y in pairs:
        for rows, encoder in ((x, backbone), (y, clip)):
            if rows.shape != (len(ids), encoder.dim):
                raise AlignmentError(
                    f"{encoder.id!r} gave an array of shape {tuple(rows.shape)} for {len(ids)} images, expected "
                    f"{(len(ids), encoder.dim)}"
                )
            if not rows.isfinite().all():
                bad = ids[int((~rows.isfinite()).any(1).nonzero()[0])]
                raise AlignmentError(
                    f"{encoder.id!r} gave numbers that are not finite for image {bad}: try dtype float32"
                )
        place = x.device if x.device.type == "cuda" else "cpu"  # Apple's GPUs have no float64
        yield ids, TRANSFORMS[transform](x.to(place).float()), normalize(y.to(place).float())


def _axis(mean: Tensor, method: Method) -> Tensor:
    return normalize(mean, dim=0) if method.keeps_mean_component else zeros_like(mean)


def _trials(spectrum: RidgeSpectrum, method: Method, axis: Tensor, pairs: _HeldOut) -> Iterator[Trial]:
    """Yield the outcome on the held-out pairs of every map of the method."""
    projected = spectrum.project(pairs.x)
    for strength in STRENGTHS:
        for restoration in method.restorations:
            predicted = spectrum.predict(projected, strength, restoration).float()
            rows = place_on_sphere(predicted, axis.float())
            yield Trial(strength, restoration, predicted, rows, pairs.y, pairs.concepts)


def _report(recipe: FitRecipe, trial: Trial, pairs: int, training_r2: float, seconds: float) -> FitReport:
    return FitReport(
        method=recipe.method,
        criterion=recipe.criterion,
        strength=trial.strength,
        restoration=trial.restoration,
        pairs=pairs,
        held_out_pairs=len(trial.true),
        r2=trial.r2,
        mean_cosine=mean_cosine(trial.rows, trial.true),
        concept_fidelity=trial.fidelity,
        recall_at_1=trial.recall(1),
        recall_at_10=trial.recall(10),
        centred_recall_at_1=trial.recall(1, centre=True),
        centred_recall_at_10=trial.recall(10, centre=True),
        pooled_training_r2=training_r2,
        seconds=seconds,
    )
