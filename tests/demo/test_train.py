"""The recipe: its truth for whole batches, its vocabulary, and the record that it checks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch

from t2c_search.concepts.decoder import Describer
from t2c_search.demo.captions import captions
from t2c_search.demo.train import clip, cnn, decoder, record, vit
from t2c_search.demo.train.__main__ import SEED, main
from t2c_search.demo.train.clip import vocabulary
from t2c_search.demo.train.lessons import Lessons, Statements, agree
from t2c_search.demo.world import draw
from t2c_search.encoders import mini
from t2c_search.errors import EncoderError


def test_batch_truth_equals_the_truth_of_each_pair() -> None:
    scenes = list(draw(31, 60))
    lessons = Lessons.of(scenes)
    together = agree(Statements.of(lessons.texts), lessons.truths)
    each = np.array([[scene.truth.matches_text(text) for scene in scenes] for text in lessons.texts])
    assert np.array_equal(together, each)
    assert 0.01 < each.mean() < 0.5


def test_every_caption_is_spelt_with_known_words() -> None:
    known = vocabulary()
    spoken = {word for scene in draw(32, 100) for text in captions(scene, 8) for word in text.split()}
    assert spoken <= known.keys()


def test_the_recipe_runs_and_its_check_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps of each model on a few hundred drawings: the folders load, and a second look finds them as recorded."""
    for module, name, value in (
        (clip, "CLOSE_UPS", 400), (clip, "SCENES", 200), (clip, "FIRST", 1), (clip, "STEPS", 3),
        (clip, "LAST", 1),
        (cnn, "PAIRS", 24), (cnn, "PAIR_BATCH", 24), (cnn, "FIRST", 1), (cnn, "FILMS", 24), (cnn, "BATCH", 12), (cnn, "STEPS", 3),
        (vit, "SCENES", 24), (vit, "BATCH", 8), (vit, "STEPS", 2),
        (decoder, "SCENES", 300), (decoder, "MEMORY", 64), (decoder, "STEPS", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    assert main(["--out", str(tmp_path)]) == 0
    assert main(["--out", str(tmp_path), "--check"]) == 0
    assert "clip: step 2/2" in capsys.readouterr().out
    model = timm.create_model(f"local-dir:{tmp_path / 'cnn'}", pretrained=True)
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 1280)
    model = timm.create_model(f"local-dir:{tmp_path / 'vit'}", pretrained=True)
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 192)
    assert len(Describer(tmp_path / "decoder").describe(np.eye(2, 256, dtype=np.float32))) == 2
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'clip'}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'clip'}")(["a red circle"])
    assert model.encode_text(tokens).shape == model.encode_image(torch.zeros(1, 3, 96, 96)).shape == (1, 256)


def test_check_accepts_the_shipped_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == list(mini.NAMES)


def test_check_names_a_file_that_was_changed(tmp_path: Path) -> None:
    folder = tmp_path / "cnn"
    shutil.copytree(mini.path("cnn"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(EncoderError, match=r"not those of the recorded run: model\.safetensors"):
        record.check(folder, seed=SEED)


def test_check_names_another_seed_or_world(tmp_path: Path) -> None:
    folder = tmp_path / "cnn"
    shutil.copytree(mini.path("cnn"), folder)
    with pytest.raises(EncoderError, match="seed"):
        record.check(folder, seed=SEED + 1)
    found = json.loads((folder / record.RECORD).read_text(encoding="utf-8"))
    (folder / record.RECORD).write_text(json.dumps({**found, "world": "0" * 64}), encoding="utf-8")
    with pytest.raises(EncoderError, match="another drawn world"):
        record.check(folder, seed=SEED)
    (folder / record.RECORD).unlink()
    with pytest.raises(EncoderError, match="has no training.json"):
        record.check(folder, seed=SEED)
