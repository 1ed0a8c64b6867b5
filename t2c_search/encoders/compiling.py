"""torch.compile for a forward pass, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from t2c_search.errors import EncoderError

Forward = Callable[[torch.Tensor], torch.Tensor]


def compiled(encoder_id: str, forward: Forward) -> Forward:
    """Return a forward pass of pixels (n, 3, h, w) that is compiled when it first runs, once for batches of any size.

    It raises EncoderError when it cannot be compiled.
    """
    from torch._dynamo import maybe_mark_dynamic
    from torch._dynamo.exc import TorchDynamoException

    run = torch.compile(forward)

    def call(pixels: torch.Tensor) -> torch.Tensor:
        maybe_mark_dynamic(pixels, 0)
        try:
            return run(pixels)
        except TorchDynamoException as exc:
            reason = str(exc).strip().split("\n", 1)[0]
            raise EncoderError(
                f"{encoder_id!r} cannot be compiled: {reason}. torch.compile takes a C++ compiler (g++, clang++ or MSVC) "
                "and Python's headers: install them, or leave --compile out"
            ) from exc

    return call
