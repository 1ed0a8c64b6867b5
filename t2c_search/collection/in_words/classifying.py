"""Zero-shot classes of a collection: what is asked for, checked against it, and written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.zero_shot.classes import GivenClasses, NamedClass, class_rows, read_classes, read_prompts
from t2c_search.concepts.zero_shot.classify import Choices, Directions, classify
from t2c_search.concepts.zero_shot.result import Classified
from t2c_search.errors import UsageError
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.state.derived import derived_field, write_derived


class Classifying:
    """Zero-shot classes of a collection: what is asked for, checked against it, and written back."""

    _snapshots: Snapshots

    def classify(
        self,
        classes: GivenClasses,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        prompts: str | Path | Sequence[str] | None = None,
        centre: bool = True,
        abstain: float = 0.0,
        against: str | None = None,
        calibrate: str | None = None,
        priors: bool = False,
        balance: bool = False,
        write: str | None = None,
    ) -> Classified:
        """Give every image, or those that ``mine`` finds, the class whose texts it is nearest to (zero-shot).

        ``classes`` are names with commas between, a file, a list, or a mapping of names to wordings. In a file and a list,
        ``ship: cargo ship, cruise ship`` is a class of two wordings, and the name alone one of its own. A class's direction
        is the mean of its wordings, each put into the ``prompts``, normalised: ``plain``, as searches put a text; ``photo``; a
        file with one template a line, or a list of templates, with ``{}`` for the wording. A closed vocabulary takes none.

        An image's score is its cosine with that direction (Text-to-Concept, arXiv 2305.06386, section 4), less (``centre``)
        the cosine of the whole collection's mean, without which one class may draw all images to it: on CIFAR-10 through
        real models that is worth 3 to 11 points, and costs up to 2 where classes' shares are 10 to 1. An image whose best
        class leads by a margin of less than ``abstain``, in cosines, has none.

        ``against`` names a payload field that holds the classes' names, or wordings: the result then has the confusion
        matrix, and how right the classes are at every margin. ``calibrate`` names one too, by which temperature and a bias
        for each class are fitted by maximum likelihood (at least 20 images; at most 20,000 are used): then there are
        confidences, whose calibration error is told from images held out, in 5 folds. With ``priors`` the classes' shares
        among the images classified are estimated by expectation maximisation (Saerens et al., Neural Computation 2002), as the
        labelled ones may be others. ``balance`` instead gives every class equally many images, by entropic optimal
        transport (Sinkhorn), whatever there are really. Both are estimated on at most 20,000 of the images.

        ``write`` keeps the classes in the payload field ``derived.NAME``, which expressions filter by; images without a class
        lose it. Nothing is written without. Memory is constant but for 28 bytes an image. Raises UsageError for classes,
        prompts and fields that cannot be used, ExpressionError as ``search`` does.
        """
        choices = Choices(centre, abstain, against, calibrate, priors, balance)
        choices.check()
        if write is not None:
            derived_field(write)
        asked = Asked(query, where, read_classes(classes), read_prompts(prompts), choices, write)
        return self._snapshots.ask(asked.answer)


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
            write_derived(now.store, derived_field(self.write), classified.ids, classified.labels)
        return classified
