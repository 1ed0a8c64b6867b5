"""Zero-shot classes of a collection: what is asked for, checked against it, and written back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from t2c_search.collection.snapshot import Snapshot
from t2c_search.concepts.zero_shot.classes import NamedClass, class_rows
from t2c_search.concepts.zero_shot.classify import Choices, Directions, classify
from t2c_search.concepts.zero_shot.result import Classified
from t2c_search.concepts.zero_shot.writing import write_classes
from t2c_search.errors import UsageError
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression
from t2c_search.query.language.reader import is_known, unknown_field


@dataclass(frozen=True, slots=True)
class Asked:
    """Which images to classify, into which classes put in which prompts, how, and under which derived name to keep them."""

    query: Expression | None
    where: str | Filter | None
    classes: tuple[NamedClass, ...]
    prompts: tuple[str, ...] | None
    choices: Choices
    write: str | None

    def answer(self, now: Snapshot) -> Classified:
        """Classify the images of a snapshot, and write their classes back where that is asked for."""
        for field in (self.choices.against, self.choices.calibrate):
            if field is not None and not is_known(field, now.fields):
                raise UsageError(unknown_field(field, now.fields))
        tree = now.chosen(self.query, self.where)
        _ = now.models.text  # loaded before the store is opened
        searcher = now.searcher()
        rows = class_rows(searcher.texts, self.classes, self.prompts)
        directions = Directions(self.classes, rows, searcher.calibration.mean)
        classified = classify(partial(searcher.read, tree), directions, self.choices)
        if self.write is not None:
            write_classes(now.store, classified, self.write)
        return classified
