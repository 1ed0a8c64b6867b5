"""What malloc is told, seen from outside: pages that are freed are not had again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
if sys.argv[1] == "keep":
    from t2c_search.indexing.allocation import keep_freed_memory
    keep_freed_memory()
layers = torch.nn.Sequential(*(torch.nn.Conv2d(8, 8, 3) for _ in range(4)))
batch = torch.ones(16, 8, 256, 256)
def faults():
    with torch.inference_mode():
        for _ in range(6):
            layers(batch)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="concerns glibc's malloc")
def test_a_model_uses_the_memory_of_the_batch_before_without_page_faults() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", PROGRAM, mode]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults("keep") < faults("leave") / 4
