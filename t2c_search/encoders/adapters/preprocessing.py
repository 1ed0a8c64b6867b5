"""A model's own image preprocessing, split so that the part after the geometry runs on the model's device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor
from torchvision.transforms.functional import pil_to_tensor

_RESIZES = ("Resize", "ResizeKeepRatio")  # torchvision's; timm and open_clip each have a class of the second name


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """PIL image -> ``prepare`` on the CPU, in threads -> ``normalise`` on the device.

    ``description`` says in JSON what the transform does; its digest is the encoder's preprocessing fingerprint.
    """

    transform: Callable[[Image.Image], Any]
    description: Any
    decode_size: int | None = None
    geometry: Callable[[Image.Image], Any] | None = None
    mean: torch.Tensor | None = None
    std: torch.Tensor | None = None

    @classmethod
    def split(cls, transform: Callable[[Image.Image], Any], description: Any) -> Preprocessing:
        """Take a transform apart where it is torchvision's geometry, ToTensor, Normalize; keep any other whole."""
        steps = list(transform.transforms) if isinstance(transform, Compose) else []
        decode_size = _resized_to(steps[0]) if steps else None
        match steps:
            case [*geometry, ToTensor(), Normalize() as last]:
                mean, std = _per_channel(last.mean), _per_channel(last.std)
                return cls(transform, description, decode_size, Compose(geometry), mean, std)
        return cls(transform, description, decode_size)

    def on(self, device: torch.device) -> Preprocessing:
        """Return the same with its constants on the device: copying them for each batch would wait for the one before."""
        if self.mean is None or self.std is None:
            return self
        return replace(self, mean=self.mean.to(device), std=self.std.to(device))

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Map an RGB image to uint8 (3, h, w) where the transform was split, else to what the whole transform gives."""
        if self.geometry is not None:
            shaped = self.geometry(image)
            if isinstance(shaped, Image.Image) and shaped.mode == "RGB":
                return pil_to_tensor(shaped)  # type: ignore[no-any-return]
        return self.transform(image)  # type: ignore[no-any-return]

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Do the rest of the transform for a batch of ``prepare`` results, on their device."""
        if batch.dtype != torch.uint8 or self.mean is None or self.std is None:
            return batch
        # The same operations in the same order as ToTensor and Normalize, so that the result has the same bits.
        return batch.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)


def _per_channel(values: Sequence[float] | torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1)


def _resized_to(step: object) -> int | None:
    """Return the shorter side that is enough for a resizing step; None when the step is something else."""
    if type(step).__name__ not in _RESIZES:
        return None
    size = step.size  # type: ignore[attr-defined]
    return int(size) if isinstance(size, int) else max(size)
