"""The configuration file of a timm local-dir."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from t2c_search.demo.backgrounds import SIDE
from t2c_search.demo.train.pixels import MEAN, STD


def write_timm(folder: Path, architecture: str, arguments: dict[str, Any], width: int, *, first_conv: str) -> None:
    """Write ``config.json``, from which ``timm.create_model("local-dir:FOLDER")`` builds a mini backbone again."""
    configuration = {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": width,
        "model_args": arguments,
        "pretrained_cfg": {
            "num_classes": 0, "input_size": [3, SIDE, SIDE], "pool_size": [SIDE // 16] * 2, "interpolation": "bicubic",
            "crop_pct": 1.0, "mean": [MEAN] * 3, "std": [STD] * 3, "first_conv": first_conv, "classifier": None,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")
