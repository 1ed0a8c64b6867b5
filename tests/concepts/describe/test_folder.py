"""A decoder's folder: what was written is read again, and what cannot be is refused in one clear sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t2c_search.concepts.describe.folder import read_decoder, write_decoder
from t2c_search.concepts.describe.sentences import Describer, load_describer
from t2c_search.concepts.describe.training import Trained
from t2c_search.errors import EncoderError, UsageError
from t2c_search.types import EncoderRef, Fingerprint
from tests.concepts.describe.language import DIM, TEXTS, embed

CLIP = EncoderRef("open_clip:mine", DIM, Fingerprint("weights", "preprocessing"))


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    write_decoder(tmp_path, trained, CLIP)
    return tmp_path


def test_what_was_written_speaks_as_what_was_trained(trained: Trained, folder: Path) -> None:
    card, decoder, _ = read_decoder(folder)
    assert card.clip == CLIP
    assert card.loss == trained.loss
    assert decoder.temperature == trained.decoder.temperature
    elsewhere = EncoderRef("local-dir:/another/place", DIM, CLIP.fingerprint)
    rows, centre = embed(TEXTS), trained.decoder.centre.numpy()
    told = load_describer(folder, elsewhere).describe(rows, centre, embed)
    same = Describer(trained.decoder, trained.tokenizer).describe(rows, centre, embed)
    assert np.mean([one.text == other.text for one, other in zip(told, same, strict=True)]) > 0.95  # float16


@pytest.mark.parametrize(
    ("clip", "difference"),
    [
        (EncoderRef("open_clip:mine", DIM, Fingerprint("others", "preprocessing")), "weights"),
        (EncoderRef("open_clip:other", 512, Fingerprint("weights", "preprocessing")), "weights"),
        (EncoderRef("open_clip:other", DIM, Fingerprint("weights", "another size")), "preprocessing"),
    ],
)
def test_a_decoder_of_another_space_is_refused(folder: Path, clip: EncoderRef, difference: str) -> None:
    with pytest.raises(
        UsageError, match=f"space of 'open_clip:mine', not of '{clip.id}', .* {difference}: .*fit-decoder"
    ):
        load_describer(folder, clip)


def other_format(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 2}))


def without_end(folder: Path) -> None:
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokenizer.replace("[EOS]", "[END]"))


def other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["shape"]["width"] = 64
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "no decoder in .*: tokenizer.json missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read: .*EOF"),
        (lambda folder: (folder / "config.json").write_text("{}"), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 100), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("[]"), "cannot be read"),
        (without_end, "its tokenizer has no .EOS."),
        (other_shape, "cannot be read: .*size"),
        (other_format, "has format 2, this t2c_search reads 1: upgrade"),
    ],
)
def test_a_broken_folder_is_named(folder: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(folder)
    with pytest.raises(EncoderError, match=message) as refused:
        load_describer(folder, CLIP)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
