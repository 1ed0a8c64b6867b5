"""The values of a payload field that stand for classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from t2c_search.concepts.zero_shot.classes import NamedClass, fold
from t2c_search.concepts.zero_shot.rule import Indices
from t2c_search.errors import UsageError, brief
from t2c_search.query.execution.selection import values_of
from t2c_search.types import Payload

_TOLD = 5  # values in a message


class Labels:
    """Reads which class a field says: by the class's name, or by a wording that is of one class alone, in any case."""

    def __init__(self, field: str, classes: Sequence[NamedClass]) -> None:
        self.field = field
        self.found = 0
        names = [fold(each.name) for each in classes]
        worded = Counter(fold(wording) for each in classes for wording in set(each.wordings))
        self._places = {
            fold(wording): at
            for at, each in enumerate(classes)
            for wording in each.wordings
            if worded[fold(wording)] == 1
        } | {name: at for at, name in enumerate(names)}
        self._others: dict[str, None] = {}

    def read(self, payloads: Sequence[Payload]) -> Indices:
        """Return the class of n images, (n,); -1 where the field has no class, or several."""
        truth = np.full(len(payloads), -1, np.int32)
        for row, payload in enumerate(payloads):
            values = [fold(str(value)) for value in values_of(payload, self.field)]
            places = {self._places[value] for value in values if value in self._places}
            if len(places) == 1:
                truth[row] = places.pop()
                self.found += 1
            elif len(self._others) < _TOLD:
                self._others |= dict.fromkeys(values)
        return truth

    def check(self, least: int) -> None:
        """Raise UsageError where fewer images than so many have a class in the field."""
        if self.found >= least:
            return
        others = ", ".join(repr(brief(value, 40)) for value in list(self._others)[:_TOLD])
        raise UsageError(
            f"{self.found} images have one of the classes in {self.field}, {least} are needed"
            + (f"; it has values such as {others}: name the classes as they are there" if others else "")
        )
