"""What is read in words from stored vectors: classes, bottlenecks, shifts, sentences, audits, maps.

    python -m benchmarks.concepts [--quick] [--json] [--only PART]

Real photographs and models are read from the folder T2C_REAL_DATA (default ../shared/real); parts that need them say so
where it is absent. --quick leaves photographs out: those of parts that have drawn scenes too, and the parts that have not
(which take a few of theirs where --only names them).
"""

from __future__ import annotations

import sys

from benchmarks._parts import run

PARTS = ("zero_shot", "bottleneck", "shift", "words", "sentences", "map", "audit", "onto", "pairs")
"""Modules of this folder, in the order of their tables."""
OF_PHOTOGRAPHS = ("audit", "onto", "pairs")

if __name__ == "__main__":
    sys.exit(run("concepts", __doc__, PARTS, full_only=OF_PHOTOGRAPHS))
