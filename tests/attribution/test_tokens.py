"""A text's vector taken apart into its words, wherever they stand."""

from __future__ import annotations

import itertools
import math
from itertools import compress
from pathlib import Path

import numpy as np
import pytest
import torch

from t2c_search.attribution import tokens
from t2c_search.attribution.banzhaf import KEPT
from t2c_search.attribution.factors import Token
from t2c_search.attribution.integrals import gauss_legendre
from t2c_search.attribution.tokens import find_tokens, token_factors
from t2c_search.encoders import registry
from t2c_search.encoders.adapters.open_clip import OpenClipEncoder
from t2c_search.errors import T2CWarning, UsageError
from tests.encoders import tiny

TEXTS = ("a red star", "a yellow ring above a green square", "", "ring")


@pytest.fixture(scope="module")
def mini() -> OpenClipEncoder:
    return registry.load("mini", device="cpu", dtype="float32")


def test_words_account_for_the_whole_difference_to_padding(mini: OpenClipEncoder) -> None:
    found = token_factors(mini, TEXTS)
    assert found.method == "jacobian"
    torch.testing.assert_close(found.vectors, mini.encode_texts(TEXTS), atol=1e-6, rtol=0)
    assert found.unexplained.max() < 0.01
    assert [len(each) for each in found.tokens] == [3, 7, 0, 1]
    assert found.parts.shape[1] == 7
    assert not found.parts[0, 3:].any()
    assert not found.parts[2].any()
    torch.testing.assert_close(found.base[2], found.vectors[2])  # nothing was said
    along = (found.parts[0, :3] * found.vectors[0]).sum(1)
    assert along[1] > 0.2 and along[2] > 0.2 and abs(along[0]) < 0.1  # red and star, not a


def test_texts_do_not_depend_on_their_batch(mini: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_NODES", (4,))  # otherwise as many as one of a batch needs
    with pytest.warns(T2CWarning):
        together = token_factors(mini, TEXTS[:2])
    monkeypatch.setattr(tokens, "_TEXTS", 1)
    monkeypatch.setattr(tokens, "_AT_ONCE", 1)
    with pytest.warns(T2CWarning):
        apart = token_factors(mini, TEXTS[:2])
    torch.testing.assert_close(together.parts, apart.parts, atol=2e-6, rtol=0)
    assert together.tokens == apart.tokens


def test_parts_are_the_towers_jacobian_by_backward_mode(mini: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_NODES", (4,))
    with pytest.warns(T2CWarning, match="2 of 2 texts leave up to"):
        found = token_factors(mini, TEXTS[:2])
    seen = mini.text_tokens(TEXTS[:2])
    length = seen.read(seen.values).norm(dim=1).view(2, 1, 1)
    expected = torch.zeros(2, seen.values.shape[1], mini.text_dim)
    for point, weight in gauss_legendre(4):
        at = (seen.references + point * (seen.values - seen.references)).detach().requires_grad_()
        every = torch.eye(mini.text_dim).unsqueeze(1).expand(-1, 2, -1)
        rows = seen.read(at)
        for dimension, cotangent in enumerate(every):
            (gradient,) = torch.autograd.grad(rows, at, cotangent, retain_graph=True)
            expected[..., dimension] += weight * (gradient * (seen.values - seen.references)).sum(2)
    torch.testing.assert_close(found.parts, (expected / length)[:, 1:8], atol=2e-6, rtol=0)


def test_into_the_last_block_most_has_been_gathered_by_the_end(mini: OpenClipEncoder) -> None:
    first, last = token_factors(mini, TEXTS[:1]), token_factors(mini, TEXTS[:1], block=-1)
    torch.testing.assert_close(first.vectors, last.vectors)
    assert last.unexplained.max() < 0.01
    assert (first.base @ first.vectors.T).item() < 0.1 < 0.5 < (last.base @ last.vectors.T).item()


def test_a_pairs_score_is_the_sum_of_what_places_and_tokens_give_to_it(mini: OpenClipEncoder) -> None:
    """Norms are held on both sides; a fault of the public code is to hold them on one only."""
    from t2c_search.attribution import analytic

    words = token_factors(mini, TEXTS[:1])
    places = analytic.factors(
        mini, None, torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)), nodes=16
    )
    score = (words.vectors @ places.vectors.T).item()
    sides = [torch.cat([each.base.unsqueeze(1), each.parts], 1)[0] for each in (places, words)]
    assert (sides[0] @ sides[1].T).sum().item() == pytest.approx(score, abs=0.01)
    assert score == pytest.approx((words.base + words.parts.sum(1)).mul(places.vectors).sum().item(), abs=0.01)


def test_siglips_texts_are_padded_to_their_full_length_and_read_off_the_last_position(tmp_path: Path) -> None:
    encoder = registry.load(tiny.save_open_clip_siglip(tmp_path / "model", seed=0), device="cpu", dtype="float32")
    found = token_factors(encoder, ["the red dog", "two cats"])
    torch.testing.assert_close(found.vectors, encoder.encode_texts(["the red dog", "two cats"]), atol=1e-6, rtol=0)
    assert [[token.written for token in each] for each in found.tokens] == [["the", "red", "dog"], ["two", "cats"]]
    assert found.unexplained.max() < 0.01


def test_tokens_of_real_captions_are_where_they_are_written(real_data: Path) -> None:
    encoder = registry.load(f"open_clip:local-dir:{real_data}/open_clip/flickr-mini", device="cpu", dtype="float32")
    text = "Two girls, LAUGHING at a snowboarder"
    found = token_factors(encoder, [text])
    assert "".join(text[each.start : each.stop] for each in found.tokens[0]) == text.replace(" ", "")
    assert found.unexplained.max() < 0.01
    start = text.index("snowboarder")
    torch.testing.assert_close(
        found.of_span(0, start, start + 4),
        sum(found.parts[0, at] for at in touching(found.tokens[0], start, start + 4)),
    )
    assert not found.of_span(0, 3, 3).any()


def touching(found: tuple[Token, ...], start: int, stop: int) -> list[int]:
    return [at for at, token in enumerate(found) if token.start < stop and token.stop > start]


def test_what_a_tokenizer_has_changed_is_placed_nowhere() -> None:
    assert find_tokens("A café", ("a", "cafe")) == (Token("a", 0, 1), Token("cafe", 1, 1))
    assert find_tokens("one one", ("one", "one")) == (Token("one", 0, 3), Token("one", 4, 7))


def test_of_a_black_box_words_are_left_out(tmp_path: Path) -> None:
    encoder = registry.load(tiny.save_st_text(tmp_path / "model", seed=0), device="cpu")
    text = "the red  dog"
    found = token_factors(encoder, [text, "snow", ""])
    assert found.method == "banzhaf"
    assert found.tokens == ((Token("the", 0, 3), Token("red", 4, 7), Token("dog", 9, 12)), (Token("snow", 0, 4),), ())
    torch.testing.assert_close(found.vectors, encoder.encode_texts([text, "snow", ""]))
    # What "red" adds on average, beside each other word with the probability that masks keep it.
    added = 0
    for others in itertools.product([False, True], repeat=2):
        there, without = (
            " ".join(compress(["the", "red", "dog"], (others[0], red, others[1]))) for red in (True, False)
        )
        weight = math.prod(KEPT if other else 1 - KEPT for other in others)
        added = added + weight * (encoder.encode_texts([there]) - encoder.encode_texts([without]))[0]
    torch.testing.assert_close(found.parts[0, 1], added, atol=1e-6, rtol=0)
    assert not found.parts[1, 1:].any()
    torch.testing.assert_close(found.base[1] + found.parts[1, 0], found.vectors[1], atol=1e-6, rtol=0)  # a word alone


def test_precomputed_texts_are_refused(tmp_path: Path) -> None:
    folder = tiny.save_precomputed(tmp_path / "model", {"a.jpg": np.ones(3)}, {"a dog": np.ones(3)})
    with pytest.raises(UsageError, match="knows whole texts only"):
        token_factors(registry.load(folder, device="cpu"), ["a dog"])


def test_no_texts_are_refused(mini: OpenClipEncoder) -> None:
    with pytest.raises(UsageError, match="no texts were given"):
        token_factors(mini, [])
