"""The benchmark's BLEU-4 and CIDEr-D against small cases worked out by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.concepts._caption_scores import bleu4, cider_d, words


def test_words_are_lower_case_and_without_punctuation() -> None:
    assert words("A dog's ball , two-tone .") == ["a", "dog's", "ball", "two", "tone"]


def test_bleu_by_hand() -> None:
    """Precisions 5/6, 3/5, 2/4, 1/3; as long as the nearest reference: no penalty."""
    said, known = ["a dog runs on green grass"], [["a dog runs on the grass", "one two three"]]
    assert bleu4(said, known) == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_bleu_clips_counts_and_punishes_brevity() -> None:
    assert bleu4(["the the the the the"], [["the cat sat on the mat"]]) == 0.0  # no pair of words is right
    long = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    assert bleu4([" ".join(long[:5])], [[" ".join(long)]]) == pytest.approx(math.exp(1 - 10 / 5))
    assert bleu4([" ".join(long)], [[" ".join(long)]]) == pytest.approx(1.0)


def test_bleu_is_of_the_corpus_not_a_mean_of_sentences() -> None:
    """Right n-grams 4, 3, 2, 1 of 8, 6, 4, 2."""
    assert bleu4(["a b c d", "w x y z"], [["a b c d"], ["e f g h"]]) == pytest.approx(0.5)


def test_cider_of_its_own_only_reference_is_ten() -> None:
    texts = ["a red dog runs fast", "two cats sleep all day"]
    assert cider_d(texts, [[text] for text in texts]) == pytest.approx(10.0)


def test_cider_by_hand() -> None:
    """ "a b" against "a c" and of another picture "b d e".

    Pictures 2; "a" and "c" are in one picture's references, weight log 2, "b" in the other's, weight log 2. Words: both vectors
    have two entries of log 2 and share one: cosine 1/2. Pairs: none shared. Longer ones: none. So 10 (1/2) / 4 for the first;
    the second is its own reference, without four words in a row: 10 * 3 / 4.
    """
    assert cider_d(["a b", "b d e"], [["a c"], ["b d e"]]) == pytest.approx((10 * 0.5 / 4 + 10 * 3 / 4) / 2)


def test_cider_gives_nothing_for_words_of_all_pictures_and_takes_off_for_length() -> None:
    """ "the" is in all pictures' references: weight 0. A word said twice is clipped to once, two words more cost exp(-4/72)."""
    known = [["the dog"], ["the cat"]]
    assert cider_d(["the", "the"], known) == 0.0
    # vectors of single words: (dog: 3 log 2) against (dog: log 2), clipped: log 2 log 2 / (3 log 2 log 2) = 1/3
    assert cider_d(["dog dog dog", "x"], [["dog"], ["cat"]]) == pytest.approx(10 * math.exp(-4 / 72) / 3 / 4 / 2)
