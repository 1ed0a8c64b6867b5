"""Bottlenecks of a collection: fitted on what its images are labelled with, kept with it, asked about its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from t2c_search.collection.snapshot import Snapshot
from t2c_search.concepts.bottleneck.fit import Asked, fit_bottleneck
from t2c_search.concepts.bottleneck.predict import Predictions, predict
from t2c_search.concepts.bottleneck.sample import read_labelled
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.query.language.constraints import Constraint
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.state.bottlenecks import BOTTLENECKS, Bottleneck, named, save_bottleneck
from t2c_search.state.derived import derived_field, write_derived


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
