"""BLEU-4 and CIDEr-D of sentences against several references each, from the papers' equations."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # words by which lengths may differ, of CIDEr-D's Gaussian

Grams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.findall("[a-z0-9']+", text.lower())


def bleu4(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of a corpus, n-grams of one to four words (Papineni et al., ACL 2002): 0 to 1.

    Clipped precisions over the whole corpus, their geometric mean, and the brevity penalty against each sentence's reference
    of the nearest length, the shorter of two as near.
    """
    right, made = [0] * LONGEST, [0] * LONGEST
    length = nearest = 0
    for sentence, known in zip(
        map(words, said), ([words(text) for text in texts] for texts in references), strict=True
    ):
        length += len(sentence)
        nearest += min((abs(len(text) - len(sentence)), len(text)) for text in known)[1]
        for n in range(LONGEST):
            grams, most = _grams(sentence, n + 1), Grams()
            for text in known:
                most |= _grams(text, n + 1)
            right[n] += (grams & most).total()
            made[n] += grams.total()
    if not all(right):
        return 0.0
    precision = math.exp(sum(math.log(r / m) for r, m in zip(right, made, strict=True)) / LONGEST)
    return precision * min(1.0, math.exp(1 - nearest / length))


def cider_d(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr-D (Vedantam et al., CVPR 2015, section 6): 0 to 10; papers print a hundred times this.

    n-grams count as often as they occur, weighted by the logarithm of pictures over pictures whose references have them; a
    sentence's counts are clipped to the reference's, and a Gaussian takes off for another length.
    """
    known = [[words(text) for text in texts] for texts in references]
    frequency: Grams = Counter()
    for texts in known:
        frequency.update({gram for text in texts for n in range(LONGEST) for gram in _grams(text, n + 1)})

    def weighted(text: list[str], n: int) -> dict[tuple[str, ...], float]:
        return {gram: count * math.log(len(known) / max(frequency[gram], 1)) for gram, count in _grams(text, n).items()}

    scores = [
        sum(
            _similarity(sentence, text, [(weighted(sentence, n), weighted(text, n)) for n in range(1, LONGEST + 1)])
            for text in texts
        )
        / len(texts)
        for sentence, texts in zip(map(words, said), known, strict=True)
    ]
    return sum(scores) / len(scores)


Pairs = list[tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]]


def _similarity(sentence: list[str], reference: list[str], pairs: Pairs) -> float:
    """Mean over n of the clipped cosines of the weighted n-grams, times ten, times the Gaussian of the lengths."""
    cosines = []
    for mine, other in pairs:
        norms = math.sqrt(sum(v * v for v in mine.values())) * math.sqrt(sum(v * v for v in other.values()))
        shared = sum(min(mine[gram], other[gram]) * other[gram] for gram in mine.keys() & other.keys())
        cosines.append(shared / norms if norms else 0.0)
    penalty = math.exp(-((len(sentence) - len(reference)) ** 2) / (2 * SIGMA**2))
    return 10 * penalty * sum(cosines) / LONGEST


def _grams(text: list[str], n: int) -> Grams:
    return Counter(tuple(text[start : start + n]) for start in range(len(text) - n + 1))
