"""The recipe: its truth for whole batches, its vocabulary, and the record that it checks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch

from t2c_search.concepts.describe.folder import read_decoder
from t2c_search.concepts.describe.training import DecoderRecipe
from t2c_search.demo import captions as sentences
from t2c_search.demo import words, world
from t2c_search.demo.captions import captions
from t2c_search.demo.train import record
from t2c_search.demo.train.__main__ import main
from t2c_search.demo.train.clip import ClipRecipe, vocabulary
from t2c_search.demo.train.cnn import CnnRecipe
from t2c_search.demo.train.decoder import MiniDecoderRecipe
from t2c_search.demo.train.lessons import Lessons, Statements, agree
from t2c_search.demo.train.trainers import SEED, TRAINERS
from t2c_search.demo.train.vit import VitRecipe
from t2c_search.demo.world import draw
from t2c_search.encoders import mini

SMALL = {
    "clip": ClipRecipe(close_ups=100, scenes=100, first_batch=32, batch=32, first=1, steps=3, last=1),
    "cnn": CnnRecipe(pairs=24, pair_batch=24, first=1, films=24, batch=12, steps=3),
    "vit": VitRecipe(scenes=24, batch=8, steps=2),
    "decoder": MiniDecoderRecipe(scenes=300, decoder=DecoderRecipe(width=32, layers=1, memory=64, steps=2, batch=8)),
}


def amend(folder: Path, **changes: Any) -> None:
    """Rewrite fields of a model's record."""
    found = json.loads((folder / record.RECORD).read_text(encoding="utf-8"))
    (folder / record.RECORD).write_text(json.dumps(found | changes), encoding="utf-8")


def differences(folder: Path) -> str:
    return "\n".join(record.check(folder, TRAINERS[folder.name], seed=SEED).differences)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of the shipped models."""
    folder = tmp_path / "models"
    for name in mini.NAMES:
        shutil.copytree(mini.path(name), folder / name)
    return folder


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
    """A few steps of each model on a few hundred drawings: the folders load, and a second look finds them as recorded."""
    for name, recipe in SMALL.items():
        monkeypatch.setitem(TRAINERS, name, replace(TRAINERS[name], recipe=recipe))
    assert main(["--out", str(tmp_path)]) == 0
    assert main(["--out", str(tmp_path), "--check"]) == 0
    assert "clip: step 2/2" in capsys.readouterr().out
    assert {name: record.read(tmp_path / name).steps for name in SMALL} == {"clip": 3, "cnn": 3, "vit": 2, "decoder": 2}
    assert [*record.read(tmp_path / "vit").sources] == ["cnn/config.json", "cnn/model.safetensors"]
    model = timm.create_model(f"local-dir:{tmp_path / 'cnn'}", pretrained=True)
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 1280)
    model = timm.create_model(f"local-dir:{tmp_path / 'vit'}", pretrained=True)
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 192)
    card, decoder, _ = read_decoder(tmp_path / "decoder")
    assert card.clip.id == "mini"
    assert decoder.memory.shape == (64, 256)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'clip'}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'clip'}")(["a red circle"])
    assert model.encode_text(tokens).shape == model.encode_image(torch.zeros(1, 3, 96, 96)).shape == (1, 256)


def test_check_accepts_the_shipped_models_and_tells_of_their_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    told = capsys.readouterr()
    lines = [line for line in told.out.splitlines() if not line.startswith("  note: ")]
    assert [line.split(":")[0] for line in lines] == list(mini.NAMES)
    run = record.read(mini.path("clip"))
    assert f"(seed {SEED}, {run.steps} steps in {run.seconds} s on {run.device} with {run.threads} threads," in lines[0]
    assert all(f"{package} {version}" in lines[0] for package, version in run.versions.items())
    assert told.err == ""


def test_check_looks_at_one_model_alone(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(models / "vit")
    assert main(["--check", "--only", "cnn", "--out", str(models)]) == 0
    assert main(["--check", "--only", "vit", "--out", str(models)]) == 1
    told = capsys.readouterr()
    assert {line.split(":")[0] for line in told.out.splitlines()} <= {"cnn", "  note"}
    assert "vit has no training.json: train it with" in told.err


def test_check_names_files_that_are_not_the_runs(models: Path) -> None:
    weights = models / "cnn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    (models / "cnn" / "more.txt").write_text("not from the run")
    assert differences(models / "cnn") == "these files are not those of the recorded run: model.safetensors, more.txt"


def test_check_names_another_seed(models: Path) -> None:
    verdict = record.check(models / "cnn", TRAINERS["cnn"], seed=SEED + 1)
    assert verdict.differences == ("it was trained with seed 7, but the recipe's seed is 8",)


def test_check_names_a_changed_constant(models: Path) -> None:
    changed = replace(TRAINERS["clip"], recipe=ClipRecipe(rate=1e-3, layers=(1, 1, 1, 1)))
    assert record.check(models / "clip", changed, seed=SEED).differences == (
        "the recipe's layers was [1, 2, 2, 1] and is now [1, 1, 1, 1]",
        "the recipe's rate was 0.002 and is now 0.001",
    )


def test_check_notices_other_captions(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "MENTIONS", sentences.MENTIONS[:-1])
    assert "draws other captions" in differences(models / "clip")
    assert differences(models / "decoder") == differences(models / "cnn") == differences(models / "vit") == ""


def test_check_notices_other_words(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(words.BACKGROUNDS, "grass", ("on turf",))
    assert differences(models / "decoder") == "the recipe now draws other captions, words"


def test_check_notices_another_world(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(world.PAINTS, "red", (214, 32, 35))
    assert differences(models / "clip") == "the recipe now draws other close-ups, scenes"
    assert differences(models / "cnn") == "the recipe now draws other films, shots"
    assert differences(models / "vit") == "the recipe now draws other scenes"


def test_check_notices_what_was_trained_from_a_model_that_was_replaced(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after training the CNN and the CLIP model anew, each with a record of its own, and neither of their pupils."""
    for name, file in (("cnn", "model.safetensors"), ("clip", "open_clip_model.safetensors")):
        weights = models / name / file
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
        amend(models / name, files=record.digests(models / name))
    assert main(["--check", "--out", str(models)]) == 1
    told = capsys.readouterr()
    assert next(line for line in told.out.splitlines() if "not as recorded" in line).startswith("vit: ")
    assert told.err.splitlines() == [
        "  vit: it learnt from other files than are beside it: cnn/model.safetensors",
        "  decoder: it learnt from other files than are beside it: clip/open_clip_model.safetensors",
    ]


def test_check_compares_the_steps_with_the_log_and_the_recipe(models: Path) -> None:
    amend(models / "cnn", steps=900)
    assert differences(models / "cnn") == "its record tells of 900 steps, its log of 3400, the recipe of 3400"
    log = models / "vit" / record.LOG
    log.write_text("\n".join(log.read_text().splitlines()[:2]) + "\n")
    amend(models / "vit", files=record.digests(models / "vit"))
    assert differences(models / "vit") == "its record tells of 1800 steps, its log of 100, the recipe of 1800"


def test_check_tells_of_other_versions_and_goes_on(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    versions = record.read(models / "cnn").versions
    amend(models / "cnn", versions=versions | {"numpy": "0.1"})
    assert main(["--check", "--only", "cnn", "--out", str(models)]) == 0
    assert f"note: trained with numpy 0.1, {np.__version__} is here" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"[]", b'{"seed": 7}', b"\xff"])
def test_a_record_that_cannot_be_read_is_told_and_the_rest_checked(
    models: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "clip" / record.RECORD).write_bytes(content)
    assert main(["--check", "--out", str(models)]) == 1
    told = capsys.readouterr()
    assert "training.json cannot be read as a training record" in told.err
    assert len(told.err.splitlines()) == 1
    assert "decoder: as recorded" in told.out


@pytest.mark.parametrize(
    ("spoil", "only", "status", "message"),
    [
        (lambda models: shutil.rmtree(models / "cnn"), "vit", 2, "the vit learns from the cnn, but there is no "),
        (lambda models: shutil.rmtree(models / "clip"), "decoder", 2, "the decoder learns from the clip, but there is no "),
        (lambda models: (models / "cnn/model.safetensors").unlink(), "vit", 1, "these files are not those of its recorded"),
        (lambda models: (models / "clip/training.json").write_text("{"), "decoder", 1, "cannot be read as a training record"),
    ],
)  # fmt: skip
def test_a_model_is_not_trained_without_the_one_it_learns_from(
    models: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], Any], only: str, status: int, message: str
) -> None:
    shutil.rmtree(models / only)
    spoil(models)
    assert main(["--only", only, "--out", str(models)]) == status
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert not (models / only).exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "afile").write_text("mine")
    assert main(["--only", "cnn", "--out", str(tmp_path / "afile")]) == 2
    assert "name another folder with --out" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["afile"]


def test_help_says_which_weights_are_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "left out, the package's own, whose weights training replaces" in said
