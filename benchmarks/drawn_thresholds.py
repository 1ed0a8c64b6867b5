"""Thresholds on the drawn world, whose truth is exact: default, taught by 20 marked scenes, and each text's own best.

    python -m benchmarks.drawn_thresholds [--quick] [--json]

The texts are the 20 that most scenes answer, of shapes, backgrounds, and colours with shapes, through the mini CLIP. How the
20 are marked, and on what all are judged, is told in ``benchmarks.constraints``.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
import torch

from benchmarks._common import finish, options, table
from benchmarks.constraints import F1_COLUMNS, FREQUENT, Bench, f1_bars, thresholds, with_mean
from benchmarks.world import constraints, embed
from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.stores import open_store

SEED, SCENES, QUICK_SCENES = 104, 2000, 500  # not the recipe's seed


def main() -> int:
    chosen = options("drawn_thresholds", __doc__)
    clip = registry.load("mini", device="cpu")
    assert isinstance(clip, DualEncoder)
    scenes = list(draw(SEED, QUICK_SCENES if chosen.quick else SCENES))
    rows = torch.cat([parts[0] for _, parts in embed([clip], scenes)])
    kinds = constraints()
    texts = [text for kind in ("shape", "background", "colour+shape") for text in kinds[kind]]
    shown = {text: np.array([scene.truth.matches_text(text) for scene in scenes]) for text in texts}
    frequent = sorted(shown, key=lambda text: -int(shown[text].sum()))[:FREQUENT]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, "drawn")
        unit = torch.nn.functional.normalize(rows, dim=1).numpy()
        bench = Bench(store, unit, shown, lambda asked: clip.encode_texts(list(asked)).cpu().numpy())
        judged = with_mean(thresholds(bench, frequent))
        store.close()
    laid = table(f"F1 of mine over {len(scenes)} scenes", judged, ("shown by", *F1_COLUMNS))
    return finish("drawn_thresholds", chosen, {"f1": judged}, [laid], f1_bars("drawn world", judged))


if __name__ == "__main__":
    sys.exit(main())
