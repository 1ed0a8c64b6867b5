"""What is read in words from stored vectors: classes, bottlenecks, shifts, sentences, audits, maps.

    python -m benchmarks.concepts [--quick] [--json] [--only PART]

Real photographs and models are read from the folder T2C_REAL_DATA (default ../shared/real); parts that need them say so
where it is absent. --quick leaves photographs out: those of parts that have drawn scenes too, and the parts that have not
(which take a few of theirs where --only names them).
"""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks._common import finish, options
from benchmarks._parts import Measured

PARTS = ("zero_shot", "bottleneck", "shift", "words", "sentences", "map", "audit", "onto", "pairs")
"""Modules of this folder, in the order of their tables."""

OF_PHOTOGRAPHS = ("audit", "onto", "pairs")


def main() -> int:
    chosen = options("concepts", __doc__, parts=PARTS)
    parts = chosen.only or [part for part in PARTS if not (chosen.quick and part in OF_PHOTOGRAPHS)]
    found: dict[str, Measured] = {
        part: import_module(f"benchmarks.concepts.{part}").measure(chosen.quick) for part in parts
    }
    name = "concepts" if not chosen.only else f"concepts-{'-'.join(chosen.only)}"
    return finish(
        name,
        chosen,
        {part: measured.figures for part, measured in found.items()},
        [table for measured in found.values() for table in measured.tables],
        [bar for measured in found.values() for bar in measured.bars],
    )


if __name__ == "__main__":
    sys.exit(main())
