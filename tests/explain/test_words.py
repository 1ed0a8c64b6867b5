"""The words of a text sum to its direction, whatever they are to the text model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from t2c_search.explain.words import MOST_PARTS, word_parts
from t2c_search.query.planning.texts import Texts
from t2c_search.types import FloatArray

DIM = 12


def embed(texts: Sequence[str]) -> FloatArray:
    """Directions that have nothing to do with each other."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
    rows = np.array([np.random.default_rng(seed).normal(size=DIM) for seed in seeds], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("text", ["dog", "a photo of a red dog", "a red dog running in the deep snow"])
def test_words_sum_to_the_direction_less_that_of_no_words(text: str) -> None:
    texts = Texts(embed)
    words, parts = word_parts(texts, text)
    whole, nothing = texts.means([texts.prompts(text), texts.prompts("")]).astype(float)
    assert np.allclose(parts.sum(axis=0), whole - nothing, atol=1e-6)
    assert " ".join(words) == min(texts.prompts(text), key=len)


def test_three_words_have_their_shapley_values() -> None:
    texts = Texts(embed)
    words, parts = word_parts(texts, "red dog running")

    def direction(some: frozenset[int]) -> np.ndarray:
        said = " ".join(words[at] for at in sorted(some))
        return texts.means([texts.prompts(said)])[0].astype(float)

    for word in range(3):
        added = []
        for order in permutations(range(3)):
            before = frozenset(order[: order.index(word)])
            added.append(direction(before | {word}) - direction(before))
        assert np.allclose(parts[word], np.mean(added, axis=0), atol=1e-6)


def test_a_word_that_changes_nothing_has_no_part() -> None:
    texts = Texts(
        lambda several: embed([" ".join(word for word in text.split() if word != "very") for text in several])
    )
    words, parts = word_parts(texts, "red very dog")
    assert words[1] == "very"
    assert np.abs(parts[1]).max() < 1e-6 < np.abs(parts[0]).max()


def test_words_of_long_texts_go_together() -> None:
    asked: list[str] = []

    def counted(several: Sequence[str]) -> FloatArray:
        asked.extend(several)
        return embed(several)

    text = " ".join(f"word{at}" for at in range(30))
    words, parts = word_parts(Texts(counted), text)
    assert len(words) == len(parts) == 10 <= MOST_PARTS
    assert " ".join(words) == text
    assert len(set(asked)) <= 3 * (10 * 9 + 2)
