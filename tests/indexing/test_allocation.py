"""What malloc and OpenMP are told, seen from outside: pages that are freed are not had again, and nobody spins."""

from __future__ import annotations

import os
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="concerns GNU's OpenMP")
@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_threads_sleep_while_they_wait_unless_the_user_said_otherwise(own: str | None) -> None:
    program = (
        "from t2c_search.indexing.allocation import sleep_while_waiting as s; s(); import t2c_search.cli.index, torch"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": own} if own else {})
    told = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert f"OMP_WAIT_POLICY = '{own or 'PASSIVE'}'" in told.stderr
