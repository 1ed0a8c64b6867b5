"""Memory does not grow with the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process alone")
def test_two_thousand_images_take_hardly_more_memory_than_five_hundred() -> None:
    script = [sys.executable, "-m", "tests.indexing.memory", "500", "2000"]
    told = subprocess.run(script, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    peaks = {int(images): int(kib) for images, kib in map(str.split, told.splitlines())}
    # 50 MiB are the bound for 18,000 images more; the pixels of these 1,500 would be 13 MiB
    assert peaks[2000] - peaks[500] < 8 << 10
