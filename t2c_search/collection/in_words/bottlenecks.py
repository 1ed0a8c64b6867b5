"""Bottlenecks of a collection: fitted on what its images are labelled with, kept with it, asked about its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.bottleneck.fit import NCC, Asked, fit_bottleneck
from t2c_search.concepts.bottleneck.predict import Predictions, predict
from t2c_search.concepts.bottleneck.sample import read_labelled
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression
from t2c_search.query.language.constraints import Constraint
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.sources.arguments import check_kind
from t2c_search.state.bottlenecks import BOTTLENECKS, Bottleneck, forget_bottleneck, named, save_bottleneck
from t2c_search.state.derived import derived_field, write_derived


class Bottlenecks:
    """Bottlenecks of a collection: fitted on what its images are labelled with, kept with it, asked about its images."""

    _snapshots: Snapshots

    def fit_bottleneck(
        self,
        name: str,
        field: str,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        vocabulary: str | Path | Sequence[str] | Vocabulary | None = None,
        wordings: Mapping[str, str | Sequence[str]] | None = None,
        ncc: int = NCC,
        seed: int = 0,
    ) -> Bottleneck:
        """Fit a classifier that sees images through named concepts only, and save it with the collection under a name.

        The classes are the values of a payload ``field`` among the images that satisfy the constraints, or all: at most 4,000
        of those with one value are read, a uniform sample. Concepts come from a ``vocabulary`` (what ``t2c bottleneck fit
        --help`` says of it, or a list); those with a class's name in theirs, or a text too near to a class's or another
        concept's, are left out (``fitted.left_out``). ``wordings`` maps values to what they mean, one text or several; left out,
        a value's own words. A concept's score is the cosine with its text in standard deviations of the images; an L1 path of
        one-against-the-rest logistic regressions chooses concepts, a ridge weighs them. A decision takes ``ncc`` concepts at
        most, on average: as many cover 95 % of its absolute contributions (NCC). ``seed`` draws folds and controls.

        ``curve`` tells the held-out accuracy, 5-fold, at NCC 5, 10, 15 and 30, beside the same number of random directions and
        of random words, a head without labels (W = U C', class texts times concept texts), zero-shot, a dense head on the
        same vectors, and a linear probe on the native ones where they are kept. Where names are not better than random by more
        than chance, ``verdict`` says "no interpretable gain". The bottleneck is that of Text-to-Concept (Moayeri et al., ICML
        2023, section 5), with the controls of later work on leakage.

        Replaces a bottleneck of that name. Raises UsageError for a field that does not tell 2 to 100 classes, and for a
        vocabulary that is none.
        """
        check_kind("name", name, str, "a text")
        check_kind("field", field, str, "the name of a payload field")
        asked = Asked(name, field, wordings or {}, ncc, seed)
        return self._snapshots.ask(lambda now: fit_and_save(now, now.chosen(query, where), vocabulary, asked))

    @property
    def bottlenecks(self) -> dict[str, Bottleneck]:
        """The bottlenecks saved with the collection, by name."""
        return self._snapshots.ask(lambda now: dict(BOTTLENECKS.read(now.store)))

    def predict(
        self,
        name: str,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        set: Mapping[str, float] | None = None,
        write: bool = False,
    ) -> Predictions:
        """Label images by a saved bottleneck: those that satisfy the constraints, or all; each with the concepts that say so.

        ``set`` is an intervention: scores that concepts are given, in standard deviations, whatever the image shows;
        ``{"wings": 0}`` makes wings no reason for or against anything. ``write`` writes the labels to the field
        ``derived.NAME``, by which expressions then filter. Raises UsageError for a name or concept that is not there, and for
        both together: labels under an intervention are not written.
        """
        changes = dict(set or {})
        return self._snapshots.ask(lambda now: predict_by(now, name, now.chosen(query, where), changes, write=write))

    def remove_bottleneck(self, name: str) -> None:
        """Forget a bottleneck; labels written stay. Raises UsageError, naming those there are, for a name that is none."""
        self._snapshots.ask(lambda now: forget_bottleneck(now.store, name))


def fit_and_save(
    now: Snapshot,
    tree: Constraint | None,
    vocabulary: str | Path | Sequence[str] | Vocabulary | None,
    asked: Asked,
) -> Bottleneck:
    """Fit a bottleneck on the images that satisfy constraints, and save it. Raises UsageError for a field no image has."""
    if not is_known(asked.field, now.fields):
        raise UsageError(unknown_field(asked.field, now.fields))
    words = now.vocabulary(vocabulary)
    searcher = now.searcher()
    native = now.card.native and now.card.aligned
    labelled = read_labelled(searcher, tree, asked.field, native=native)
    fitted = fit_bottleneck(labelled, words, searcher.texts, asked)
    save_bottleneck(now.store, fitted)
    return fitted


def predict_by(
    now: Snapshot, name: str, tree: Constraint | None, changes: Mapping[str, float], *, write: bool
) -> Predictions:
    """Label images by a saved bottleneck, and write the labels to ``derived.NAME`` where asked to.

    Raises UsageError where what an intervention makes of labels would be written.
    """
    if write and changes:
        raise UsageError("labels under an intervention are not those of the images: write them without one")
    found = predict(now.searcher(), tree, named(BOTTLENECKS.read(now.store), name), changes)
    if write:
        labels = [found.classes[at] for at in found.labels.tolist()]
        write_derived(now.store, derived_field(name), found.ids, labels)
    return found
