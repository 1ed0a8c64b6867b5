"""SigLIP reads a text off its last position: texts are padded to 64 tokens there, or rankings silently invert."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from torch.nn.functional import normalize
from transformers import SiglipModel

from t2c_search.encoders import registry
from t2c_search.testing.encoders import DualEncoderContract
from tests.encoders import tiny

TEXTS = ["a dog", "the red dog in the snow", "two cats on the red grass in the snow"]


def padded(texts: list[str], padding: str = "max_length") -> torch.Tensor:
    return tiny.tokenizer_of_64()(texts, padding=padding, max_length=64, return_tensors="pt")["input_ids"]


class TestSiglip(DualEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        return tiny.save_st_siglip(tmp_path_factory.mktemp("siglip") / "model", seed=0)


def test_through_sentence_transformers_texts_are_those_of_the_model_itself(tmp_path: Path) -> None:
    encoder_id = tiny.save_st_siglip(tmp_path / "model", seed=0)
    model = SiglipModel.from_pretrained(tmp_path / "model").eval()

    def own(tokens: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return normalize(model.text_model(tokens).pooler_output)

    rows = registry.load_text_encoder(encoder_id, device="cpu").encode_texts(TEXTS)
    torch.testing.assert_close(rows, own(padded(TEXTS)), atol=1e-5, rtol=0)
    assert (rows * own(padded(TEXTS, "longest"))).sum(1).min() < 0.9  # so the padding matters


def test_through_open_clip_texts_are_those_of_the_model_itself(tmp_path: Path) -> None:
    encoder_id = tiny.save_open_clip_siglip(tmp_path / "model", seed=0)
    model = open_clip.create_model(encoder_id.removeprefix("open_clip:")).eval()
    rows = registry.load_text_encoder(encoder_id, device="cpu").encode_texts(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(rows, model.encode_text(padded(TEXTS), normalize=True), atol=1e-5, rtol=0)
        other = model.encode_text(padded([*TEXTS[:2], TEXTS[0]], "longest"), normalize=True)
    assert (rows[:2] * other[:2]).sum(1).min() < 0.99
