"""Where images go through the models."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedding import embed
from t2c_search.indexing.pairs import PairModels, PairTask, SummedPairs, sum_pairs
from t2c_search.profile import LOAD, StageClock

if TYPE_CHECKING:
    from t2c_search.indexing.pipeline import Run
    from t2c_search.sources import ImageInput


class Embedder(Protocol):
    """Sends images through models: in this process (``LocalEmbedder``) or in others (``indexing.ray.embedder``)."""

    @property
    def batching(self) -> Batching:
        """Images per forward pass, and threads of each process."""
        ...

    @property
    def is_here(self) -> bool:
        """Whether that is in this process, where the bytes of images that it has read can be held for it."""
        ...

    def embed(self, inputs: Iterator[ImageInput], run: Run) -> None:
        """Embed and align images with the run's models, which are loaded when there is an image, and see them written.

        Raises EncoderError when a model cannot be loaded or can run on nothing, StoreError when the store fails.
        """
        ...

    def sum_pairs(
        self, sample: Sequence[ImageInput], models: PairModels, *, keep: bool, clock: StageClock
    ) -> Generator[SummedPairs, None, None]:
        """Embed a sample with two models, decoding each image once, and sum the pairs up for a fit, in any order.

        ``keep`` asks for the backbone's rows too. Raises as ``embed`` does, and AlignmentError on rows that are not what the
        models should give.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalEmbedder:
    """Sends images through models in this process."""

    batching: Batching = Batching()  # noqa: RUF009 - it is frozen

    @property
    def is_here(self) -> bool:
        """It is."""
        return True

    def embed(self, inputs: Iterator[ImageInput], run: Run) -> None:
        """Embed, align and write images."""
        if (first := next(inputs, None)) is None:
            return
        clock = run.monitor.clock
        with clock.measure(LOAD):
            encoder, projection = run.load_models()
        images = chain((first,), inputs)
        with closing(embed(images, (encoder,), on_failure=run.fail, batching=self.batching, clock=clock)) as batches:
            run.align(batches, projection)

    def sum_pairs(
        self, sample: Sequence[ImageInput], models: PairModels, *, keep: bool, clock: StageClock
    ) -> Generator[SummedPairs, None, None]:
        """Embed a sample in order, and sum it up batch by batch."""
        task = PairTask.of(models, len(sample), keep)
        return sum_pairs(sample, (models.backbone, models.clip), task, self.batching, clock)
