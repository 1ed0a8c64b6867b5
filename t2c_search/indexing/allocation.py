"""What a process that indexes sets for all of itself: how it gets its memory, and how its threads wait."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # <malloc.h>
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let malloc keep what is freed, for the next batch; for processes of our own, as it holds for all of one.

    A forward pass on the CPU takes and frees hundreds of MB for each batch. glibc hands such blocks back to the system at
    once, and having their pages anew was 63 % of the CPU time of MobileNetV2 on batches of 32: 2.1 of 3.3 s, against
    0.07 of 1.2 s with this, at a peak 9 % higher. Does nothing where malloc is another one.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


def sleep_while_waiting() -> None:
    """Let the threads of a forward pass on the CPU sleep while they wait for each other; call it before torch is imported.

    By default OpenMP's threads spin, on processors that decoding needs: an image of 12 megapixels took MobileNetV2 and two
    decoding threads 52 ms of CPU time on two busy processors, against 25 with this and 24 for both done apart.
    ``OMP_WAIT_POLICY`` in the environment still decides.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
