"""How two sides of images differ in the words of a vocabulary, from their vectors alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2c_search.concepts.shift import measures
from t2c_search.concepts.shift.findings import Seen, find
from t2c_search.concepts.shift.measures import Ranks
from t2c_search.concepts.shift.permutations import ENERGY_IMAGES, deal, energy_test, in_parts, largest_t
from t2c_search.concepts.shift.result import AnyShift, Shift, ShiftedWord, ShiftSide
from t2c_search.concepts.shift.sample import Sample
from t2c_search.concepts.shift.sides import LEAST_OF_STRATUM, Chosen, Tallied, tally
from t2c_search.concepts.shift.tally import SAMPLE, Scale
from t2c_search.errors import UsageError, brief

LEAST_IMAGES = 5
"""Images a side: of fewer, no dealing out by chance is rarer than 1 in 100."""
PERMUTATIONS = 999


@dataclass(frozen=True, slots=True)
class Asked:
    """In which ``words`` sides are compared, within the values of a field ``by`` if any, by how many permutations."""

    words: Sequence[str]
    by: str | None = None
    permutations: int = PERMUTATIONS
    seed: int = 0


def diagnose(a: Chosen, b: Chosen, asked: Asked) -> Shift:
    """Compare the images of A with those of B, which are read once; those that are in both are left out.

    Raises UsageError for too few images of a side.
    """
    collections = {id(each.searcher): each.searcher.calibration for each in (a, b)}
    scale = Scale.of(list(collections.values()), a.searcher.texts.rows(asked.words))
    tallied = tally((a, b), scale, asked.by, asked.seed)
    strata = tallied.strata
    used = [each.value for each in strata if each.used]
    compared = [each for each in strata if each.used or asked.by is None]
    images = (sum(each.a for each in compared), sum(each.b for each in compared))
    _check_counts((a, b), images, tallied, asked.by)
    sample = Sample.of(tallied.kept, used, SAMPLE)
    words = _tested(tallied, scale, sample, asked)
    seen = Seen(words, scale.directions, sample)
    one, other = (ShiftSide(each.name, images[side], *find(seen, side, each)) for side, each in enumerate((a, b)))
    return Shift(
        one,
        other,
        _anything(Sample.of(tallied.kept, used, ENERGY_IMAGES), asked),
        tuple(sorted(words, key=lambda word: -word.g)),
        tallied.shared,
        asked.by,
        strata if asked.by else (),
        tallied.without_value,
        asked.permutations,
        sample.images,
    )


def _tested(tallied: Tallied, scale: Scale, sample: Sample, asked: Asked) -> list[ShiftedWord]:
    """Measure and test every word, in the order asked for."""
    from scipy.stats import false_discovery_control

    summary = tallied.summary()
    t, df = measures.welch(summary)
    p = measures.p_of_welch(t, df)
    whole = sum(sample.images) == summary.n.sum()
    ranks = _ranks(sample, scale) if whole else tallied.ranks()
    dealt = deal(sample.is_a, sample.strata, asked.permutations, np.random.default_rng(asked.seed))
    together = largest_t(in_parts(sample.rows, scale.directions), dealt, sample.strata)
    columns = (
        *measures.hedges(summary),
        measures.difference(summary) * scale.sd,
        *measures.rank_test(ranks, summary.n),
        t,
        p,
        false_discovery_control(p),
        together,
    )
    rows = np.column_stack(columns).tolist()
    return [
        ShiftedWord(word, g, low, high, difference, auroc, error, t, p, q, rank_p, max_t_p)
        for word, (g, low, high, difference, auroc, error, rank_p, t, p, q, max_t_p) in zip(
            asked.words, rows, strict=True
        )
    ]


def _ranks(sample: Sample, scale: Scale) -> Ranks:
    """Rank the scores of images that are all in the sample."""
    found = []
    for places in sample.strata:
        parts = in_parts(sample.rows[places], scale.directions)
        found.append([measures.ranks_of_scores(scores, sample.is_a[places]) for scores in parts])
    return Ranks(
        *(
            np.array([np.concatenate([getattr(part, name)[0] for part in parts]) for parts in found])
            for name in ("u", "variance", "error")
        )
    )


def _anything(sample: Sample, asked: Asked) -> AnyShift:
    dealt = deal(sample.is_a, sample.strata, asked.permutations, np.random.default_rng(asked.seed))
    return AnyShift(*energy_test(sample.rows, dealt, sample.strata), sample.images)


def _check_counts(chosen: tuple[Chosen, Chosen], images: tuple[int, int], tallied: Tallied, by: str | None) -> None:
    """Raise UsageError, saying what was left out, where a side has too few images to compare."""
    if min(images) >= LEAST_IMAGES:
        return
    letter, name = ("A", chosen[0].name) if images[0] <= images[1] else ("B", chosen[1].name)
    reasons = []
    if tallied.shared:
        reasons.append(f"{tallied.shared} images are in both sides, and left out")
    if by is not None:
        few = sum(each.a + each.b for each in tallied.strata if not each.used)
        reasons.append(
            f"{tallied.without_value} have no {by!r}, and {few} a value of it that fewer than {LEAST_OF_STRATUM} of the "
            "other side have"
        )
    told = f" ({'; '.join(reasons)})" if reasons else ""
    raise UsageError(
        f"side {letter}, {brief(name)}, has {min(images)} images to compare{told}; at least {LEAST_IMAGES} are needed: choose "
        "sides that have more images, and not the same ones"
    )
