"""What the three mini models that look at images take of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from t2c_search.concepts.describe.loop import device

MEAN, STD = 0.5, 0.25  # of inputs in [0, 1]


def pixels(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Turn (n, h, w, 3) uint8 into the models' input (n, 3, h, w) float32, channels last, on the device."""
    raw = torch.from_numpy(np.ascontiguousarray(images)).to(device()).permute(0, 3, 1, 2)
    return ((raw.float() / 255 - MEAN) / STD).contiguous(memory_format=torch.channels_last)
