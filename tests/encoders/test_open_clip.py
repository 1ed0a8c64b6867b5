"""Named open_clip models are built as they were trained."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from safetensors.torch import save_file

from t2c_search.encoders import registry
from t2c_search.testing.encoders import draw_image
from tests.encoders import tiny


@pytest.fixture
def named_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make open_clip know a tiny model whose weights were trained with QuickGELU, though its architecture says GELU."""
    (tmp_path / "Tiny-8.json").write_text(json.dumps(tiny.OPEN_CLIP_CONFIG))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    open_clip.add_model_config(tmp_path / "Tiny-8.json")
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(open_clip.CLIP(**tiny.OPEN_CLIP_CONFIG).state_dict(), weights)
    tag = {"file": str(weights), "quick_gelu": True, "mean": (0.2, 0.4, 0.6), "std": (0.3, 0.2, 0.4)}
    monkeypatch.setitem(pretrained._PRETRAINED, "Tiny-8", {"shapes": tag})
    return "Tiny-8"


@pytest.mark.filterwarnings("ignore:QuickGELU mismatch")
def test_weights_trained_with_quick_gelu_run_with_it(named_model: str) -> None:
    encoder = registry.load_clip(f"open_clip:{named_model}/shapes", device="cpu")
    image = draw_image((50, 40), seed=0)
    rows = encoder.encode_images(encoder.prepare(image).unsqueeze(0))
    right, preprocess = open_clip.create_model_from_pretrained(named_model, "shapes", force_quick_gelu=True)
    wrong, _ = open_clip.create_model_from_pretrained(named_model, "shapes")
    pixels = preprocess(image).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(rows, right.encode_image(pixels))
        assert not torch.allclose(rows, wrong.encode_image(pixels), atol=1e-3)
    assert encoder.id == f"open_clip:{named_model}/shapes"


def test_another_tokenizer_is_another_preprocessing(tmp_path: Path) -> None:
    first = registry.load_clip(tiny.save_open_clip(tmp_path / "first", seed=0))
    second_id = tiny.save_open_clip(tmp_path / "second", seed=0)
    config_file = tmp_path / "second" / "open_clip_config.json"
    config = json.loads(config_file.read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"clean": "whitespace"}  # keeps capitals
    config_file.write_text(json.dumps(config))
    second = registry.load_clip(second_id)
    assert first.fingerprint.weights == second.fingerprint.weights
    assert first.fingerprint.preprocessing != second.fingerprint.preprocessing
