"""Ids of images in 16 bytes each, and what of them is uniform."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
"""Ids (n, 2): the halves of their 128 bits."""

_HASH = np.uint64(2**62 - 1)  # ids are name-based UUIDs, whose last 62 bits are a hash


def keys_of(ids: Sequence[str]) -> Keys:
    """Return n ids in 16 bytes each."""
    return np.frombuffer(bytes.fromhex("".join(ids).replace("-", "")), ">u8").reshape(-1, 2).astype(np.uint64)


def ids_of(keys: Keys) -> list[str]:
    """Return the ids as they are written."""
    return [str(UUID(bytes=key.tobytes())) for key in keys.astype(">u8")]


def hashes(keys: Keys) -> npt.NDArray[np.uint64]:
    """Return the uniform numbers (n,) below 2**62 that are in the ids."""
    return keys[:, 1] & _HASH
