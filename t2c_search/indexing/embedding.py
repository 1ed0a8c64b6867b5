"""Images to vectors: read and decode | embed, each image once and each stage bounded.

Threads read and decode (Pillow releases the interpreter's lock); the caller's thread runs the models. What is held is
bounded by the batch size and the threads. Each file is read once: its hash, its payload and its pixels come from the
same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from t2c_search.decoding.decode import ImageHeader, decode, read_header
from t2c_search.decoding.metadata import content_hash, location_payload, measured_payload
from t2c_search.encoders.protocols import model_input, needs_pixels
from t2c_search.errors import EncoderError, ImageError, T2CError
from t2c_search.indexing.batching import FIRST_BATCH, Batching, measuring
from t2c_search.profile import DECODE, EMBED, READ, WAIT_DECODE, StageClock
from t2c_search.sources import ImageInput, read_image
from t2c_search.sources.containers.embeddings import VECTORS_SUFFIX
from t2c_search.sources.kinds import split_member
from t2c_search.sources.private import private_addresses
from t2c_search.types import Failure, Payload

if TYPE_CHECKING:
    import torch

    from t2c_search.attribution.factors import PlaceFactors
    from t2c_search.encoders.protocols import ImageEncoder, VectorLookup

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """One decoded image: its point's id and payload, and for each encoder the model's input without the batch axis."""

    id: str
    payload: Payload
    tensors: tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """n images in columns: their points' ids and payloads, and for each encoder their vectors (n, d) float32.

    The vectors are as the model gives them, on its device; ``factors`` are those of the first encoder's, where it is
    ``Explained``.
    """

    ids: list[str]
    payloads: list[Payload]
    vectors: tuple[torch.Tensor, ...]
    factors: PlaceFactors | None = None


def embed(
    inputs: Iterable[ImageInput],
    encoders: Sequence[ImageEncoder],
    *,
    on_failure: Callable[[Failure], None],
    batching: Batching | None = None,
    clock: StageClock | None = None,
) -> Generator[EmbeddedBatch, None, None]:
    """Embed images with one or several encoders, decoding each once, in order and in batches.

    Where their size is not told, a small first batch tells how many fit into the free memory. ``inputs`` is read at most a
    batch and two images per thread ahead. An image that cannot be read, decoded or embedded goes to ``on_failure``, in the
    caller's thread, and stops nothing. A batch that the model fails on is tried again in halves; where its device is out of
    memory, the batches after it are as small. Raises EncoderError when the model can run on nothing.
    """
    batching, clock = batching or Batching(), clock or StageClock()
    threads = batching.threads
    clock.use_threads(threads, READ, DECODE)
    prepare = partial(_prepare, encoders=encoders, clock=clock)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="t2c-decode")
    try:
        forward = _Forward(encoders, batching.batch_size, on_failure)
        prepared = map_in_order(pool, prepare, inputs, ahead=lambda: forward.batch_size + 2 * threads)
        ready = _without_failures(prepared, on_failure)
        while batch := _take(ready, forward.batch_size, clock):
            with clock.measure(EMBED):
                embedded = forward.run(batch)
            yield from embedded
    finally:
        pool.shutdown(cancel_futures=True)


def decode_size(encoders: Sequence[ImageEncoder]) -> int | None:
    """Return the size that suits the most demanding encoder that needs pixels; None, the whole image, beats every number."""
    sizes = [encoder.decode_size for encoder in encoders if needs_pixels(encoder)]
    numbers = [size for size in sizes if size is not None]
    return max(numbers, default=None) if len(numbers) == len(sizes) else None


def look_at(
    content: bytes, path: str, encoders: Sequence[ImageEncoder]
) -> tuple[ImageHeader, tuple[torch.Tensor, ...]]:
    """Decode an image's bytes once for all encoders, and not at all where none needs pixels.

    Returns what the file says of itself and, for each encoder, what ``encode_images`` takes, without the batch axis. Raises
    ImageError, and what the encoders raise.
    """
    if not any(needs_pixels(encoder) for encoder in encoders):
        return read_header(content), _look_up(path, encoders)
    decoded = decode(content, decode_size(encoders))
    return decoded, tuple(model_input(encoder, decoded.pixels, path) for encoder in encoders)


def _prepare(item: ImageInput, encoders: Sequence[ImageEncoder], clock: StageClock) -> PreparedImage | Failure:
    measured: Payload = {}
    try:
        with clock.measure(READ), private_addresses(item.allow_private):
            content = None if _is_elsewhere(item.path) else item.content or read_image(item.path)
        with clock.measure(DECODE):
            if content is None:
                tensors = _look_up(item.path, encoders)
            else:
                header, tensors = look_at(content, item.path, encoders)
                digest = item.hash if content is item.content else content_hash(content)
                measured = measured_payload(header, len(content), digest)
    except T2CError as exc:
        return Failure(item.path, str(exc))
    except Exception as exc:  # one odd image must not stop a run of millions, whatever a model's preprocessing raises
        return Failure(item.path, f"cannot be prepared for the model: {type(exc).__name__}: {exc}")
    payload = {**item.fields, **location_payload(item.path, item.mtime_ns), **measured}
    return PreparedImage(item.id, payload, tensors)


def _is_elsewhere(path: str) -> bool:
    """Tell a row of somebody else's embeddings from an image."""
    return split_member(path)[0].endswith(VECTORS_SUFFIX)


def _look_up(path: str, encoders: Sequence[ImageEncoder]) -> tuple[torch.Tensor, ...]:
    """Return the vectors of an image that nobody looks at. Raises ImageError when an encoder needs its pixels."""
    if any(needs_pixels(encoder) for encoder in encoders):
        raise ImageError(
            "its image is not here, only its embedding: index the folder with the encoder precomputed:FOLDER"
        )
    return tuple(cast("VectorLookup", encoder).look_up(path) for encoder in encoders)


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
    prepared: Iterator[PreparedImage | Failure], on_failure: Callable[[Failure], None]
) -> Iterator[PreparedImage]:
    for item in prepared:
        if isinstance(item, Failure):
            on_failure(item)
        else:
            yield item


def _take(ready: Iterator[PreparedImage], count: int, clock: StageClock) -> list[PreparedImage]:
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

    def run(self, batch: list[PreparedImage]) -> list[EmbeddedBatch]:
        """Embed a batch, in one piece if that works."""
        if self._is_chosen:
            return self._run(batch)
        self._is_chosen = True
        choose = measuring(self._encoders[0].device, batch[0].tensors)
        embedded = self._run(batch)
        if self.batch_size == FIRST_BATCH:  # there was room for it
            self.batch_size = choose(len(batch))
        return embedded

    def _run(self, batch: list[PreparedImage]) -> list[EmbeddedBatch]:
        import torch  # here, so that a run that finds nothing to embed never loads it

        if len(batch) > self.batch_size:
            return self._run_in_halves(batch)
        try:
            vectors, factors = self._embedded(batch)
        except EncoderError:  # it can run on none
            raise
        except RuntimeError as exc:  # out of memory, a shape that does not fit, and most else that torch raises
            reason = f"the model failed on it: {exc}"
            if isinstance(exc, torch.OutOfMemoryError):
                self.batch_size = max(1, len(batch) // 2)
        else:
            return [EmbeddedBatch([item.id for item in batch], [item.payload for item in batch], vectors, factors)]
        if len(batch) == 1:
            self._on_failure(Failure(batch[0].payload["path"], reason))
            return []
        return self._run_in_halves(batch)

    def _embedded(self, batch: list[PreparedImage]) -> tuple[tuple[torch.Tensor, ...], PlaceFactors | None]:
        """Return each encoder's rows, and the factors of the first one's where it tells them."""
        from t2c_search.attribution.explained import Explained

        vectors, factors = [], None
        for index, encoder in enumerate(self._encoders):
            stacked = _stack([item.tensors[index] for item in batch], encoder.device)
            if isinstance(encoder, Explained):
                factors = encoder.explain(stacked)
                vectors.append(factors.vectors)
            else:
                vectors.append(encoder.encode_images(stacked))
        return tuple(vectors), factors

    def _run_in_halves(self, batch: list[PreparedImage]) -> list[EmbeddedBatch]:
        middle = len(batch) // 2
        return self._run(batch[:middle]) + self._run(batch[middle:])


def _stack(tensors: list[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Stack prepared images; for a GPU in pinned memory, which torch keeps for the next batch and copies from beside
    the computation."""
    import torch

    shape = (len(tensors), *tensors[0].shape)
    return torch.stack(tensors, out=torch.empty(shape, dtype=tensors[0].dtype, pin_memory=device.type == "cuda"))
