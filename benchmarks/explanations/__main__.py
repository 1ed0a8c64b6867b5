"""Why an image was found: whether maps point at what they say, are faithful to the model, and what models know.

    python -m benchmarks.explanations [--quick] [--json] [--only PART]

Real photographs and models are read from the folder T2C_REAL_DATA (default ../shared/real); parts that need them say so
where it is absent. ``python -m benchmarks.explanations.pointing ID`` plays the pointing game with another CLIP model.
"""

from __future__ import annotations

import sys

from benchmarks._parts import run

PARTS = ("drawn", "pointing", "faithfulness", "grounding", "stored", "cost")
"""Modules of this folder, in the order of their tables."""

if __name__ == "__main__":
    sys.exit(run("explanations", __doc__, PARTS))
