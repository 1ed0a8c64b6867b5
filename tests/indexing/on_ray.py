"""What the worker processes of the tests on Ray import."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from t2c_search.indexing.sources import ImageInput

from .support import TinyEncoder


def load_tiny() -> tuple[TinyEncoder, Callable[[torch.Tensor], torch.Tensor]]:
    return TinyEncoder(), torch.nn.functional.normalize


def load_pair() -> tuple[TinyEncoder, TinyEncoder]:
    return TinyEncoder(), TinyEncoder(seed=1)


@dataclass(frozen=True, slots=True)
class Deadly(ImageInput):
    """An image whose reading kills the process: every time, or the first time, of which ``marker`` then tells."""

    marker: str = ""

    def read(self) -> bytes:
        if self.marker and Path(self.marker).exists():
            return ImageInput.read(self)
        if self.marker:
            Path(self.marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")
