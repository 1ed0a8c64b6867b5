"""Images through two models, for the aligner's fit: what is to be summed up of them, here or in many processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from t2c_search.indexing.embedding import EmbeddedBatch, embed
from t2c_search.profile import StageClock
from t2c_search.types import EncoderRef, Failure

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.held_out import PairSplit
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.sources import ImageInput


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
        self.kept.extend(EmbeddedBatch(batch.records, (batch.vectors[0].to(device),)) for batch in other.kept)


@dataclass(frozen=True, slots=True)
class PairModels:
    """Two loaded models, the backbone and the CLIP model, and their names."""

    encoders: tuple[ImageEncoder, ImageEncoder]
    refs: tuple[EncoderRef, EncoderRef]


def sum_pairs(
    inputs: Iterable[ImageInput],
    models: PairModels,
    *,
    among: int,
    keep: bool,
    batch_size: int | None = None,
    workers: int | None = None,
    clock: StageClock | None = None,
) -> Generator[SummedPairs, None, None]:
    """Embed images with both models, decoding each once, and yield what became of them, batch by batch.

    ``among`` says how many images the fit sees in all, ``keep`` asks for the backbone's rows. Raises AlignmentError on
    rows that are not what the models should give, EncoderError when a model can run on nothing.
    """
    from t2c_search.alignment.fit import add_pairs
    from t2c_search.alignment.held_out import PairSplit

    failures: list[Failure] = []
    backbone, clip = models.refs
    batches = embed(
        inputs, models.encoders, on_failure=failures.append, batch_size=batch_size, workers=workers, clock=clock
    )
    with closing(batches):
        for batch in batches:
            x, y = batch.vectors
            summed = SummedPairs(PairSplit(among), failures[:], [EmbeddedBatch(batch.records, (x,))] if keep else [])
            failures.clear()
            add_pairs(summed.split, [([item.id for item in batch.records], x, y)], backbone=backbone, clip=clip)
            yield summed
    yield SummedPairs(PairSplit(among), failures)
