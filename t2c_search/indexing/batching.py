"""How many images go through the models at once: as many as the user says, or as help and as the free memory holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from t2c_search.settings import load_settings

if TYPE_CHECKING:
    import torch

FIRST_BATCH = 16
"""Images of the first batch, by which the size of the others is chosen."""
LARGEST_BATCH = 64
"""Images on a CPU or an Apple GPU, which more than these make no faster."""
LARGEST_ON_CUDA = 256
"""Images on a CUDA GPU: a ViT-B keeps it busy, at 38 MiB of prepared images of 224 x 224 in main memory."""
_ANY_MACHINE = 4 << 30  # bytes
_SAFE_SHARE = 0.5  # of the free memory: the next batch comes before the last one has gone, and allocators waste some
_ACTIVATIONS = 32  # times an image's float32 pixels; seen on a CPU: 7 (ViT-B/32), 21 (MobileNetV2), 30 (ConvNeXt-B)


@dataclass(frozen=True, slots=True)
class Batching:
    """Images per forward pass (None: what fits the memory), and threads that decode (None: as many as processors)."""

    batch_size: int | None = None
    workers: int | None = None

    @classmethod
    def chosen(cls, batch_size: int | None, workers: int | None) -> Self:
        """Return what was given, and for the rest the settings'."""
        settings = load_settings()
        return cls(batch_size or settings.batch_size, workers or settings.workers)

    @property
    def threads(self) -> int:
        """Number of threads that read and decode."""
        return self.workers or os.cpu_count() or 1


def images_that_fit(free: int, each: int, most: int) -> int:
    """Return the largest power of two, from 1 to ``most``, of images of ``each`` bytes in a safe share of ``free`` bytes."""
    room = int(_SAFE_SHARE * free) // max(each, 1)
    return 1 << max(1, min(room, most)).bit_length() - 1


def measuring(device: torch.device, image: Sequence[torch.Tensor]) -> Callable[[int], int]:
    """Begin to measure a first batch; the result, called with its images when it is done, returns the size to go on with.

    On CUDA counts the bytes that the batch took; elsewhere estimates them from one prepared ``image``, a tensor (c, h, w)
    for each model.
    """
    if device.type != "cuda":
        each = _ACTIVATIONS * 4 * max(tensor.numel() for tensor in image)
        return lambda images: images_that_fit(_free_main_memory(), each, LARGEST_BATCH)
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)

    def chosen(images: int) -> int:
        taken = torch.cuda.max_memory_allocated(device) - before
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return images_that_fit(torch.cuda.mem_get_info(device)[0] + cached, taken // images, LARGEST_ON_CUDA)

    return chosen


def _free_main_memory() -> int:
    """Return the bytes that this process may still take, as Linux tells; elsewhere what any machine has."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except OSError:
        return _ANY_MACHINE
    try:
        return min(free, int(Path("/sys/fs/cgroup/memory.max").read_text()))  # of a container
    except (OSError, ValueError):  # there is none, or it is "max"
        return free
