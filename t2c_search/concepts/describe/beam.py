"""Beam search: the most likely sentences of a decoder, found by following several at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

BY_LENGTH = 0.7
"""Between 0, where short sentences win, and 1, where they may ramble on (Wu et al., arXiv 1609.08144, section 7)."""

NextWord = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Rows (k,) and their sentences so far (k, t) to the log-probabilities of each next word, (k, vocabulary)."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The token that each sentence begins with, the one that ends it, and how many tokens it has at most, both included."""

    begin: int
    end: int
    longest: int


def search(next_word: NextWord, rows: int, width: int, ends: Ends) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``width`` sentences of each row, best first: tokens (rows, width, t), and their scores (rows, width).

    A sentence's score is the log-probability of its words, its end included, over their number to the power of ``BY_LENGTH``.
    It is followed as long as it is among the ``width`` best, ended or not, and ends where it may go on no longer; width 1 is
    the greedy search. Behind an end stand ends.
    """
    tokens = torch.full((rows, 1, 1), ends.begin)
    total, length = torch.zeros(rows, 1), torch.zeros(rows, 1)
    ended = torch.zeros(rows, 1, dtype=torch.bool)
    while tokens.shape[2] < ends.longest and not bool(ended.all()):
        beams = tokens.shape[1]
        going = ~ended.flatten()
        which = torch.arange(rows).repeat_interleave(beams)
        found = next_word(which[going], tokens.flatten(0, 1)[going])
        step = torch.full((rows * beams, found.shape[1]), float("-inf"))
        step[:, ends.end] = 0.0  # all that an ended sentence can go on with
        step[going] = found
        if tokens.shape[2] == ends.longest - 1:
            step[:, torch.arange(found.shape[1]) != ends.end] = float("-inf")
        sums = total[:, :, None] + step.view(rows, beams, -1)
        lengths = (length + ~ended)[:, :, None].expand_as(sums)
        best = (sums / lengths**BY_LENGTH).flatten(1).topk(min(width, sums[0].numel()), dim=1).indices
        parent, word = best // sums.shape[2], best % sums.shape[2]
        tokens = torch.cat([tokens.gather(1, parent[:, :, None].expand(-1, -1, tokens.shape[2])), word[:, :, None]], 2)
        total, length = sums.flatten(1).gather(1, best), lengths.flatten(1).gather(1, best)
        ended = word == ends.end
    return tokens, total / length**BY_LENGTH
