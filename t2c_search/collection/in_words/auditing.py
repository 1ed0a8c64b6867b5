"""Audits of a collection."""

from __future__ import annotations

from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.audit.findings import Audit
from t2c_search.concepts.audit.reading import Chosen
from t2c_search.concepts.audit.run import audit, write_kinds
from t2c_search.errors import UsageError
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.state.derived import derived_field


class Auditing:
    """What is wrong with a collection's images, captions and labels, as their vectors tell."""

    _snapshots: Snapshots

    def audit(
        self,
        field: str | None = None,
        *,
        query: Expression | None = None,
        where: str | Filter | None = None,
        look: bool = False,
        write: str | None = None,
    ) -> Audit:
        """Look for what people who clean data sets look for, among all images or those that ``query`` and ``where`` choose.

        Captions that do not fit their picture (by CSLS both ways: Conneau et al., ICLR 2018, equation 5), outliers, and dark,
        blurred, empty and odd-sized pictures; by a ``field`` also values that the pictures contradict (names, neighbours and
        a cross-validated probe together; the threshold of confident learning, Northcutt et al., JAIR 2021), the same picture
        under two values, and values that cannot be told apart. Only what the numbers speak against is a finding, the worst of
        each kind first; ``notes`` say what could not be looked for.

        No image is opened, unless ``look`` says so for those indexed without figures of how they look (docs/sources.md),
        which are then kept. ``write`` stores the kinds of each image's findings as ``derived.NAME``, in place of a former
        audit's. Up to 30,000 images every pair is compared; beyond, neighbours are those of the store's index, and about
        250 bytes an image are held. Raises UsageError for a field that is not there, or has one value or too many.
        """

        if write is not None:
            derived_field(write)

        def answer(now: Snapshot) -> Audit:
            if field is not None and not is_known(field, now.fields):
                raise UsageError(unknown_field(field, now.fields))
            found = audit(Chosen(now.searcher(), now.chosen(query, where), field, look))
            if write is not None:
                write_kinds(now.store, found, derived_field(write))
            return found

        return self._snapshots.ask(answer)
