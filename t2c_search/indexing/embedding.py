"""Images and models to points: read and decode | embed | align, each image once and each stage bounded.

Threads read and decode (Pillow releases the interpreter's lock); the caller's thread runs the models. What is held is
bounded by the batch size and the threads. Each file is read once: its hash, its payload and its pixels come from the
same bytes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from t2c_search.decoding.decode import decode
from t2c_search.decoding.metadata import location_payload, measured_payload
from t2c_search.encoders.protocols import model_input, needs_pixels
from t2c_search.errors import EncoderError, ImageError, T2CError
from t2c_search.indexing.batch_size import FIRST_BATCH, measuring
from t2c_search.profile import DECODE, EMBED, READ, WAIT_DECODE, StageClock
from t2c_search.sources import ImageInput
from t2c_search.sources.containers.embeddings import VECTORS_SUFFIX
from t2c_search.sources.kinds import split_member
from t2c_search.types import CLIP, NATIVE, Failure, Payload, Points

if TYPE_CHECKING:
    import torch

    from t2c_search.encoders.protocols import ImageEncoder

    Projection = Callable[[torch.Tensor], torch.Tensor]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image as it is indexed: the point's id and its payload."""

    id: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """n records, and for each encoder their vectors (n, d) float32 on its device, as the model gives them."""

    records: list[ImageRecord]
    vectors: tuple[torch.Tensor, ...]


def embed(
    inputs: Iterable[ImageInput],
    encoders: Sequence[ImageEncoder],
    *,
    on_failure: Callable[[Failure], None],
    batch_size: int | None = None,
    workers: int | None = None,
    clock: StageClock | None = None,
) -> Generator[EmbeddedBatch, None, None]:
    """Embed images with one or several encoders, decoding each once, in order, ``batch_size`` at a time.

    When that is None, a small first batch tells how many fit into the free memory. ``workers`` threads decode (as many
    as processors when None); ``inputs`` is read at most a batch and two images per thread ahead. An image that cannot be
    read, decoded or embedded goes to ``on_failure``, in the caller's thread, and stops nothing. A batch that the model
    fails on is tried again in halves; where its device is out of memory, the batches after it are as small. Raises
    EncoderError when the model can run on nothing.
    """
    clock = clock or StageClock()
    workers = count_threads(workers)
    clock.use_threads(workers, READ, DECODE)
    prepare = partial(_prepare, encoders=encoders, decode_size=decode_size(encoders), clock=clock)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="t2c-decode")
    try:
        forward = _Forward(encoders, batch_size, on_failure)
        prepared = map_in_order(pool, prepare, inputs, ahead=lambda: forward.batch_size + 2 * workers)
        ready = _without_failures(prepared, on_failure)
        while batch := _take(ready, forward.batch_size, clock):
            with clock.measure(EMBED):
                embedded = forward.run(batch)
            yield from embedded
    finally:
        pool.shutdown(cancel_futures=True)


def count_threads(workers: int | None) -> int:
    """Return the number of threads that decode: as many as processors, unless the user said otherwise."""
    return workers or os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One decoded image: its record and, for each encoder, the model's input without the batch axis."""

    record: ImageRecord
    tensors: tuple[torch.Tensor, ...]


def decode_size(encoders: Sequence[ImageEncoder]) -> int | None:
    """Return the size that suits the most demanding encoder: None, the whole image, beats every number; 0: no pixels."""
    sizes = [encoder.decode_size for encoder in encoders if needs_pixels(encoder)]
    numbers = [size for size in sizes if size is not None]
    return max(numbers, default=0) if len(numbers) == len(sizes) else None


def _prepare(
    item: ImageInput, encoders: Sequence[ImageEncoder], decode_size: int | None, clock: StageClock
) -> _Prepared | Failure:
    try:
        with clock.measure(READ):
            content = None if _is_embedding(item.path, decode_size) else item.read()
        with clock.measure(DECODE):
            pixels, measured = _look_at(item, content, decode_size)
            tensors = tuple(model_input(encoder, pixels, item.path) for encoder in encoders)
    except T2CError as exc:
        return Failure(item.path, str(exc))
    except Exception as exc:  # one odd image must not stop a run of millions, whatever a model's preprocessing raises
        return Failure(item.path, f"cannot be prepared for the model: {type(exc).__name__}: {exc}")
    return _Prepared(ImageRecord(item.id, {**item.fields, **measured}), tensors)


def _is_embedding(path: str, decode_size: int | None) -> bool:
    """Tell a row of somebody else's embeddings from an image. Raises ImageError when a model asks for its pixels."""
    container, _ = split_member(path)
    if not container.endswith(VECTORS_SUFFIX):
        return False
    if decode_size != 0:
        raise ImageError(
            "its image is not here, only its embedding: index the folder with the encoder precomputed:FOLDER"
        )
    return True


def _look_at(item: ImageInput, content: bytes | None, decode_size: int | None) -> tuple[Image.Image, Payload]:
    """Return the pixels of an image, and what its file says of it; for one that is elsewhere none, and its path."""
    if content is None:
        return Image.new("RGB", (1, 1)), location_payload(item.path, item.mtime_ns)
    decoded = decode(content, decode_size)
    return decoded.pixels, measured_payload(item.path, item.mtime_ns, content, decoded)


def map_in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: Callable[[], int]
) -> Iterator[Result]:
    """Yield ``function`` of every item, in order, with at most ``ahead()`` items taken and not yet yielded."""
    window: deque[Future[Result]] = deque()
    for item in items:
        window.append(pool.submit(function, item))
        while len(window) >= ahead():
            yield window.popleft().result()
    while window:
        yield window.popleft().result()


def _without_failures(
    prepared: Iterator[_Prepared | Failure], on_failure: Callable[[Failure], None]
) -> Iterator[_Prepared]:
    for item in prepared:
        if isinstance(item, Failure):
            on_failure(item)
        else:
            yield item


def _take(ready: Iterator[_Prepared], count: int, clock: StageClock) -> list[_Prepared]:
    with clock.measure(WAIT_DECODE):
        return list(islice(ready, count))


class _Forward:
    """The models' part: batches of prepared images to vectors, in pieces that the device has room for."""

    def __init__(
        self, encoders: Sequence[ImageEncoder], batch_size: int | None, on_failure: Callable[[Failure], None]
    ) -> None:
        self.batch_size = batch_size or FIRST_BATCH
        self._is_chosen = batch_size is not None
        self._encoders = encoders
        self._on_failure = on_failure

    def run(self, batch: list[_Prepared]) -> list[EmbeddedBatch]:
        """Embed a batch, in one piece if that works."""
        if self._is_chosen:
            return self._run(batch)
        self._is_chosen = True
        choose = measuring(self._encoders[0].device, batch[0].tensors)
        embedded = self._run(batch)
        if self.batch_size == FIRST_BATCH:  # there was room for it
            self.batch_size = choose(len(batch))
        return embedded

    def _run(self, batch: list[_Prepared]) -> list[EmbeddedBatch]:
        import torch  # here, so that a run that finds nothing to embed never loads it

        if len(batch) > self.batch_size:
            return self._run_in_halves(batch)
        try:
            vectors = tuple(
                encoder.encode_images(_stack([item.tensors[index] for item in batch], encoder.device))
                for index, encoder in enumerate(self._encoders)
            )
        except EncoderError:  # it can run on none
            raise
        except RuntimeError as exc:  # out of memory, a shape that does not fit, and most else that torch raises
            reason = f"the model failed on it: {exc}"
            if isinstance(exc, torch.OutOfMemoryError):
                self.batch_size = max(1, len(batch) // 2)
        else:
            return [EmbeddedBatch([item.record for item in batch], vectors)]
        if len(batch) == 1:
            self._on_failure(Failure(batch[0].record.payload["path"], reason))
            return []
        return self._run_in_halves(batch)

    def _run_in_halves(self, batch: list[_Prepared]) -> list[EmbeddedBatch]:
        middle = len(batch) // 2
        return self._run(batch[:middle]) + self._run(batch[middle:])


def _stack(tensors: list[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Stack prepared images; for a GPU in pinned memory, which torch keeps for the next batch and copies from beside
    the computation."""
    import torch

    shape = (len(tensors), *tensors[0].shape)
    return torch.stack(tensors, out=torch.empty(shape, dtype=tensors[0].dtype, pin_memory=device.type == "cuda"))


def align(batch: EmbeddedBatch, projection: Projection, keep_native: bool) -> tuple[Points, list[Failure]]:
    """Project a batch of one encoder's rows to unit rows of CLIP space: the points to write, and what cannot be one."""
    return _project(batch, projection, keep_native).points(StageClock())


def align_all(
    batches: Iterable[EmbeddedBatch], load_projection: Callable[[], Projection], keep_native: bool, clock: StageClock
) -> Iterator[tuple[Points, list[Failure]]]:
    """Align each batch; a GPU is given the next batch before this thread waits for what it made of the last one."""
    projection = None
    under_way: deque[_HostCopy] = deque()
    for batch in batches:
        with clock.measure(EMBED):
            projection = projection or load_projection()
            under_way.append(_project(batch, projection, keep_native))
        while under_way and (len(under_way) > 1 or under_way[0].is_there()):
            yield under_way.popleft().points(clock)
    for copy in under_way:
        yield copy.points(clock)


@dataclass(frozen=True, slots=True)
class _HostCopy:
    """The vectors of a batch on their way to the host; ``done`` is the GPU's event behind the copying."""

    records: list[ImageRecord]
    rows: dict[str, torch.Tensor]
    done: torch.cuda.Event | None

    def is_there(self) -> bool:
        return self.done is None or bool(self.done.query())  # type: ignore[no-untyped-call]

    def points(self, clock: StageClock) -> tuple[Points, list[Failure]]:
        with clock.measure(EMBED):
            if self.done is not None:
                self.done.synchronize()
            vectors = {name: rows.numpy() for name, rows in self.rows.items()}
            finite = np.isfinite(vectors[CLIP]).all(axis=1)
        failures = [  # half precision overflows on some images
            Failure(record.payload["path"], "the model gave it a vector that is not finite: try --dtype float32")
            for record, good in zip(self.records, finite, strict=True)
            if not good
        ]
        records = [record for record, good in zip(self.records, finite, strict=True) if good]
        points = Points(
            [record.id for record in records],
            [record.payload for record in records],
            {name: rows[finite] for name, rows in vectors.items()},
        )
        return points, failures


def _project(batch: EmbeddedBatch, projection: Projection, keep_native: bool) -> _HostCopy:
    import torch

    (native,) = batch.vectors
    rows = {CLIP: projection(native)} | ({NATIVE: native} if keep_native else {})
    on_cuda = native.device.type == "cuda"
    copies = {name: tensor.float().to("cpu", non_blocking=on_cuda) for name, tensor in rows.items()}
    return _HostCopy(batch.records, copies, torch.cuda.current_stream().record_event() if on_cuda else None)
