"""Beam search against all sentences of a small language that has no grammar but its odds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch

from t2c_search.concepts.describe.beam import Ends, NextWord, search

WORDS, BEGIN, END = 4, 0, 1
ENDS = Ends(BEGIN, END, longest=5)


def odds(seed: int) -> Callable[[int, tuple[int, ...]], np.ndarray]:
    """Log-probabilities of each next word of a row's sentence so far, drawn anew for each sentence."""
    drawn: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}

    def of(row: int, sentence: tuple[int, ...]) -> np.ndarray:
        if (row, sentence) not in drawn:
            raw = np.random.default_rng([seed, row, *sentence]).normal(size=WORDS) * 2
            drawn[row, sentence] = raw - np.log(np.exp(raw).sum())
        return drawn[row, sentence]

    return of


def as_model(seed: int) -> NextWord:
    of = odds(seed)

    def next_word(rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        found = [of(row, tuple(sentence)) for row, sentence in zip(rows.tolist(), tokens.tolist(), strict=True)]
        return torch.tensor(np.array(found), dtype=torch.float32)

    return next_word


def score(seed: int, row: int, sentence: tuple[int, ...]) -> float:
    """Log-probability of a sentence's words behind its beginning, over their number to the power of 0.7."""
    of = odds(seed)
    return (
        float(sum(of(row, sentence[:at])[sentence[at]] for at in range(1, len(sentence)))) / (len(sentence) - 1) ** 0.7
    )


def all_sentences() -> list[tuple[int, ...]]:
    """Every sentence that ends in time."""
    others = [word for word in range(WORDS) if word != END]
    return [(BEGIN, *words, END) for length in range(ENDS.longest - 1) for words in product(others, repeat=length)]


def cut(sentence: list[int]) -> tuple[int, ...]:
    return tuple(sentence[: sentence.index(END) + 1] if END in sentence else sentence)


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_best_of_all_sentences(seed: int) -> None:
    tokens, scores = search(as_model(seed), 3, 400, ENDS)
    for row in range(3):
        best = max(all_sentences(), key=lambda sentence: score(seed, row, sentence))
        assert cut(tokens[row, 0].tolist()) == best
        assert scores[row, 0] == pytest.approx(score(seed, row, best), abs=1e-5)
        assert torch.equal(scores[row], scores[row].sort(descending=True).values)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_sentences_and_no_sentence_comes_twice(seed: int) -> None:
    tokens, scores = search(as_model(seed), 4, 3, ENDS)
    for row in range(4):
        found = [cut(sentence) for sentence in tokens[row].tolist()]
        assert scores[row].tolist() == pytest.approx([score(seed, row, sentence) for sentence in found], abs=1e-5)
        assert len(set(found)) == 3


def test_width_1_is_the_greedy_search_which_a_beam_beats() -> None:
    """A beam may lose the greedy sentence on its way; over many sentences it finds better ones all the same."""
    gained = []
    for seed in range(20):
        tokens, greedy = search(as_model(seed), 5, 1, ENDS)
        for row in range(5):
            sentence = (BEGIN,)
            while sentence[-1] != END and len(sentence) < ENDS.longest:
                must_end = len(sentence) == ENDS.longest - 1
                sentence += (END if must_end else int(odds(seed)(row, sentence).argmax()),)
            assert cut(tokens[row, 0].tolist()) == sentence
        gained += (search(as_model(seed), 5, 4, ENDS)[1][:, 0] - greedy[:, 0]).tolist()
    assert np.mean(np.array(gained) >= -1e-6) > 0.9
    assert np.mean(np.array(gained) > 0.01) > 0.2
