"""Decoders trained on text alone: they learn, they are what their seed makes them, and memory is what DeCap says."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2c_search.concepts.describe.decoder import Decoder, DecoderShape
from t2c_search.concepts.describe.sentences import Describer
from t2c_search.concepts.describe.tokens import sentences_of, tokens_of, train_tokenizer
from t2c_search.concepts.describe.training import LEAST_CAPTIONS, TEMPERATURES, Trained, train_decoder
from t2c_search.errors import UsageError
from tests.concepts.describe.language import COLOURS, DIM, PLACES, TEXTS, THINGS, TINY, captions, embed


def losses(log: list[str]) -> list[float]:
    return [float(loss) for line in log if (loss := "".join(re.findall(r"^step .* loss ([\d.]+)", line)))]


def test_the_loss_falls_and_is_told(trained: Trained, log: list[str]) -> None:
    first, *_, last = losses(log)
    assert last < 0.3 * first
    assert trained.loss < 0.5
    assert trained.decoder.temperature in TEMPERATURES
    assert log[-1].startswith(f"temperature {trained.decoder.temperature} loss {trained.loss:.3f}")


def test_what_it_says_is_what_the_vectors_are_of(trained: Trained) -> None:
    """Image vectors lie apart from texts': shifted alike and noisy, they are described all the same, if the mean is told."""
    shift = np.random.default_rng(1).normal(size=DIM).astype(np.float32)
    rows = (
        embed(TEXTS) + 0.5 * shift + 0.02 * np.random.default_rng(2).normal(size=(len(TEXTS), DIM)).astype(np.float32)
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = Describer(trained.decoder, trained.tokenizer).describe(rows, rows.mean(0), embed)
    right = [len(set(told.text.split()) & set(text.split())) for told, text in zip(found, TEXTS, strict=True)]
    assert np.mean(right) > 4.3  # of 5 words
    said, unit = embed([told.text for told in found]), rows - rows.mean(0)
    centre = trained.decoder.centre.numpy()
    cosines = ((said - centre) * unit).sum(1) / np.linalg.norm(said - centre, axis=1) / np.linalg.norm(unit, axis=1)
    assert [told.cosine for told in found] == pytest.approx(cosines.tolist(), abs=1e-5)
    assert np.mean(cosines) > 0.7
    others = Describer(trained.decoder, trained.tokenizer).describe(np.roll(rows, 7, axis=0), rows.mean(0), embed)
    wrong = [len(set(told.text.split()) & set(text.split())) for told, text in zip(others, TEXTS, strict=True)]
    assert np.mean(wrong) < 3.6


def test_a_seed_makes_the_same_decoder_and_leaves_the_callers_dice_alone() -> None:
    recipe = replace(TINY, steps=3, dropout=0.1)
    torch.manual_seed(11)
    one, following = train_decoder(captions(), recipe, seed=1), torch.rand(3)
    torch.manual_seed(11)
    assert torch.equal(following, torch.rand(3))
    same, other = (train_decoder(captions(), recipe, seed=seed).decoder.state_dict() for seed in (1, 2))
    assert all(torch.equal(each, same[name]) for name, each in one.decoder.state_dict().items())
    assert not torch.equal(one.decoder.memory, other["memory"])


def test_captions_kept_aside_are_not_in_the_memory() -> None:
    trained = train_decoder(captions(), replace(TINY, steps=1, memory=1000), seed=1)
    memory = trained.decoder.memory.numpy()
    assert len(memory) == len(TEXTS) - max(1, len(TEXTS) // 20)
    remembered = (embed(TEXTS) @ memory.T).max(1) > 0.99999
    assert remembered.sum() == len(memory)
    np.testing.assert_allclose(trained.decoder.centre, memory.mean(0), atol=1e-6)


def test_what_is_said_most_comes_into_a_small_memory() -> None:
    often = TEXTS[5:15]
    trained = train_decoder(captions([*TEXTS, *often * 9]), replace(TINY, steps=1, memory=10), seed=1)
    cosines = embed(TEXTS) @ trained.decoder.memory.numpy().T
    assert sorted(cosines.argmax(0).tolist()) == list(range(5, 15))
    assert cosines.max(0) == pytest.approx(1.0, abs=1e-5)


def test_too_few_captions_are_refused() -> None:
    with pytest.raises(UsageError, match=f"^3 different captions are too few .* give {LEAST_CAPTIONS}"):
        train_decoder(captions(TEXTS[:3]), TINY, seed=1)


def test_recall_is_a_softmax_over_the_memory() -> None:
    """DeCap, eq. 3-4, in plain numpy, for texts less their mean."""
    rng = np.random.default_rng(4)
    decoder = Decoder(DecoderShape(vocabulary=5, dim=7, width=8, layers=1, heads=2, context=4, memory=9))
    texts, points = rng.normal(size=(9, 7)), rng.normal(size=(6, 7))
    decoder.memory.copy_(torch.from_numpy(texts))
    decoder.centre.copy_(torch.from_numpy(texts.mean(0)))
    decoder.temperature = 0.07
    known = texts - texts.mean(0)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    cosines = points @ known.T / np.linalg.norm(points, axis=1, keepdims=True)
    weights = np.exp(cosines / 0.07)
    expected = weights / weights.sum(1, keepdims=True) @ known
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(decoder.recall(torch.from_numpy(points).float()), expected, atol=1e-5)


def test_a_word_depends_on_the_words_before_it_alone() -> None:
    decoder = Decoder(DecoderShape(vocabulary=9, dim=4, width=8, layers=2, heads=2, context=6, memory=1)).eval()
    vectors, tokens = torch.randn(2, 4), torch.tensor([[1, 2, 3, 4], [1, 2, 5, 6]])
    with torch.inference_mode():
        whole, start = decoder(vectors, tokens), decoder(vectors, tokens[:, :2])
    assert whole.shape == (2, 5, 9)
    torch.testing.assert_close(whole[:, :3], start)


def test_captions_come_back_from_tokens_as_they_were() -> None:
    texts = [*TEXTS, "Ein Café, 2 dogs & the sea.", "Two  spaces", "犬"]
    tokenizer = train_tokenizer(texts)
    tokens = tokens_of(tokenizer, texts, 64)
    assert sentences_of(tokenizer, tokens) == texts
    assert all(f"Ġ{word}" in tokenizer.get_vocab() for word in COLOURS + THINGS + PLACES)
    assert sentences_of(tokenizer, tokens_of(tokenizer, ["a red cat on snow"], 4)) == ["a red cat"]
