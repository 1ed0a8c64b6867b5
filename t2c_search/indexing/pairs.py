"""Images through two models, for the aligner's fit: what is to be summed up of them, here or in many processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedding import EmbeddedBatch, embed
from t2c_search.profile import StageClock
from t2c_search.types import EncoderRef, Failure

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.held_out import PairSplit
    from t2c_search.attribution.factors import PlaceFactors
    from t2c_search.encoders.protocols import ImageEncoder

    Pair = tuple[ImageEncoder, ImageEncoder]
    from t2c_search.sources import ImageInput


@dataclass(frozen=True, slots=True)
class PairModels:
    """A backbone and a CLIP model; ``load``, which must be picklable, loads the two in another process."""

    backbone: ImageEncoder
    clip: ImageEncoder
    load: Callable[[], Pair]


@dataclass(frozen=True, slots=True)
class PairTask:
    """What is summed up: rows of the two models named, ``among`` so many images in all; ``keep`` the backbone's rows."""

    refs: tuple[EncoderRef, EncoderRef]
    among: int
    keep: bool

    @classmethod
    def of(cls, models: PairModels, among: int, keep: bool) -> PairTask:
        """Return the task for two loaded models."""
        return cls((encoder_ref(models.backbone), encoder_ref(models.clip)), among, keep)


@dataclass(frozen=True, slots=True)
class SummedPairs:
    """What became of some images: pairs on their way to a fit, failures, and the backbone's rows, if they are kept."""

    split: PairSplit
    failures: list[Failure] = field(default_factory=list)
    kept: list[EmbeddedBatch] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)
    """By stage, where another process took them."""

    def merge(self, other: SummedPairs, device: torch.device) -> None:
        """Take in what became of other images; rows are kept on the device."""
        self.split.merge(other.split)
        self.failures.extend(other.failures)
        for batch in other.kept:
            vectors, factors = batch.vectors[0].to(device), batch.factors
            if factors is not None:
                factors = replace(
                    factors, vectors=vectors, base=factors.base.to(device), parts=factors.parts.to(device)
                )
            self.kept.append(replace(batch, vectors=(vectors,), factors=factors))


def sum_pairs(
    inputs: Iterable[ImageInput], encoders: Pair, task: PairTask, batching: Batching, clock: StageClock
) -> Generator[SummedPairs, None, None]:
    """Embed images with both models, decoding each once, and yield what became of them, batch by batch.

    Raises AlignmentError on rows that are not what the models should give, EncoderError when a model can run on nothing.
    """
    from t2c_search.alignment.fit import add_pairs
    from t2c_search.alignment.held_out import PairSplit

    failures: list[Failure] = []
    backbone, clip = task.refs
    with closing(embed(inputs, encoders, on_failure=failures.append, batching=batching, clock=clock)) as batches:
        for batch in batches:
            x, y = batch.vectors
            kept = [replace(batch, vectors=(x,), factors=_halved(batch.factors))] if task.keep else []
            summed = SummedPairs(PairSplit(task.among), failures[:], kept)
            failures.clear()
            add_pairs(summed.split, [(batch.ids, x, y)], backbone=backbone, clip=clip)
            yield summed
    yield SummedPairs(PairSplit(task.among), failures)


def _halved(factors: PlaceFactors | None) -> PlaceFactors | None:
    """Keep parts in half precision, far finer than the bytes that they become: there are dozens for each row."""
    return factors and replace(factors, parts=factors.parts.half())
