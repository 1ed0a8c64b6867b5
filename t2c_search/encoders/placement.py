"""Where a model runs, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.settings import Device, Dtype


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, and the type that matrix products run in there; weights and results stay float32."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def choose(cls, device: Device, dtype: Dtype) -> Self:
        """Resolve ``auto``: the machine's GPU if it has one; float32 on a CPU, 16 bits on a GPU.

        Raises UsageError when the machine lacks the device asked for.
        """
        place = _device(device)
        return cls(place, _auto_dtype(place) if dtype == "auto" else getattr(torch, dtype))

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context that a forward pass runs in."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def _device(name: Device) -> torch.device:
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    if name not in present:
        raise UsageError(f"no device {name!r}; known devices: auto, {', '.join(present)}")
    if not present[name]:
        raise UsageError(f"device {name!r} was asked for, but torch {torch.__version__} finds none; see: t2c doctor")
    return torch.device(name)


def _auto_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16
