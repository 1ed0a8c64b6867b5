"""The contract of every encoder, as tests: subclass the contract that fits and give it an ``encoder_id`` fixture.

    class TestAcme(ImageEncoderContract):
        @pytest.fixture(scope="class")
        def encoder_id(self) -> str:
            return "acme:small"

Models run on the CPU in float32. A test that needs a fixture which the subclass does not give is skipped, by name.
"""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from t2c_search.encoders import registry
from t2c_search.encoders.capabilities import (
    AttentionBlocks,
    AttentionPooled,
    Differentiable,
    FeatureMaps,
    SumOfPlaces,
    TokenizedTexts,
)
from t2c_search.encoders.protocols import (
    DualEncoder,
    ImageEncoder,
    PixelEncoder,
    TextEncoder,
    VectorLookup,
    model_input,
    needs_pixels,
)
from t2c_search.errors import UnknownVectorError
from t2c_search.types import FloatArray

SIZES = ((320, 240), (240, 320), (300, 300), (97, 401), (64, 48), (640, 481))
"""Width and height of the contract's images: landscape, portrait, square, narrow, smaller than most inputs, odd."""
_HEX = frozenset("0123456789abcdef")
_TOLERANCE = 1e-4  # of a vector's length: sums in another order differ by about 1e-6
_SAME_SUMS = 1e-5


class _EncoderContract:
    """What both sides share."""

    @pytest.fixture(scope="class")
    def encoder_id(self) -> str:
        """Return the id of the encoder under test."""
        raise NotImplementedError


class ImageEncoderContract(_EncoderContract):
    """What an encoder of images must do."""

    @pytest.fixture(scope="class")
    def other_id(self) -> str | None:
        """Return the id of an encoder with other weights and the same preprocessing, where there is one."""
        return None

    @pytest.fixture(scope="class")
    def named_images(self) -> list[tuple[Image.Image, str]]:
        """Return images, each with the path that it is known by."""
        return [(draw_image(size, seed), f"image_{seed}.png") for seed, size in enumerate(SIZES)]

    @pytest.fixture(scope="class")
    def reference(self) -> FloatArray | None:
        """Return the vectors of ``named_images`` as the model's own library gives them, where there is one."""
        return None

    @pytest.fixture(scope="class")
    def encoder(self, encoder_id: str) -> ImageEncoder:
        """Load the encoder under test."""
        return registry.load_image_encoder(encoder_id, device="cpu", dtype="float32")

    @pytest.fixture(scope="class")
    def vectors(self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]]) -> FloatArray:
        """Return the vectors of ``named_images``, in one batch."""
        return embed_images(encoder, named_images)

    def test_is_an_image_encoder(self, encoder: ImageEncoder) -> None:
        assert isinstance(encoder, ImageEncoder)
        assert isinstance(encoder, PixelEncoder) != isinstance(encoder, VectorLookup)
        assert encoder.device == torch.device("cpu")

    def test_its_id_loads_it_again_from_any_folder(
        self,
        encoder: ImageEncoder,
        named_images: list[tuple[Image.Image, str]],
        vectors: FloatArray,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        again = registry.load_image_encoder(encoder.id, device="cpu", dtype="float32")
        assert again.id == encoder.id
        assert again.fingerprint == encoder.fingerprint
        np.testing.assert_array_equal(embed_images(again, named_images), vectors)

    def test_prepared_images_stack_and_lie_on_the_cpu(
        self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]]
    ) -> None:
        prepared = [model_input(encoder, image, name) for image, name in named_images]
        assert {item.dtype for item in prepared} <= {torch.uint8, torch.float32}
        assert {item.device.type for item in prepared} == {"cpu"}
        assert torch.stack(prepared).shape[0] == len(named_images)
        if prepared[0].dtype == torch.uint8:
            assert prepared[0].ndim == 3
            assert prepared[0].shape[0] == 3

    def test_preparing_does_not_change_the_image(
        self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]]
    ) -> None:
        if not needs_pixels(encoder):
            pytest.skip("no pixels: the encoder looks vectors up by path")
        image, _ = named_images[0]
        before = image.tobytes()
        encoder.prepare(image)
        assert image.tobytes() == before

    def test_images_may_be_prepared_in_many_threads(
        self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]]
    ) -> None:
        alone = [model_input(encoder, image, name) for image, name in named_images]
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda named: model_input(encoder, *named), named_images * 8))
        for item, expected in zip(together, alone * 8, strict=True):
            assert torch.equal(item, expected)

    def test_vectors_are_float32_rows(self, encoder: ImageEncoder, vectors: FloatArray) -> None:
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(vectors), encoder.image_dim)
        assert np.isfinite(vectors).all()

    def test_vectors_are_ordinary_tensors(
        self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]]
    ) -> None:
        image, name = named_images[0]
        rows = encoder.encode_images(model_input(encoder, image, name).unsqueeze(0))
        assert rows.device == encoder.device
        assert not rows.requires_grad
        rows -= 1  # an inference tensor would refuse

    def test_other_images_have_other_vectors(self, vectors: FloatArray) -> None:
        assert len(np.unique(vectors.round(6), axis=0)) == len(vectors)

    def test_a_vector_does_not_depend_on_its_batch(
        self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]], vectors: FloatArray
    ) -> None:
        singly = np.concatenate([embed_images(encoder, [named]) for named in named_images])
        assert_same_rows(singly, vectors)

    def test_the_model_sees_what_its_own_preprocessing_gives(
        self, vectors: FloatArray, reference: FloatArray | None
    ) -> None:
        if reference is None:
            pytest.skip("no reference: the subclass gives no vectors of the model's own library")
        assert_same_rows(vectors, reference)

    def test_nothing_is_lost_by_decoding_to_decode_size(
        self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]]
    ) -> None:
        if not needs_pixels(encoder) or encoder.decode_size is None:
            pytest.skip("no decode_size: the encoder needs whole images, or none")
        image, _ = named_images[0]
        assert min(encoder.prepare(image).shape[-2:]) <= encoder.decode_size

    def test_fingerprint_is_two_digests(self, encoder: ImageEncoder) -> None:
        for digest in (encoder.fingerprint.weights, encoder.fingerprint.preprocessing):
            assert len(digest) >= 16
            assert set(digest) <= _HEX

    def test_other_weights_have_another_fingerprint(self, encoder: ImageEncoder, other_id: str | None) -> None:
        if other_id is None:
            pytest.skip("no other_id: the subclass gives no encoder with other weights")
        other = registry.load_image_encoder(other_id, device="cpu", dtype="float32")
        assert other.fingerprint.weights != encoder.fingerprint.weights
        assert other.fingerprint.preprocessing == encoder.fingerprint.preprocessing

    @pytest.fixture(scope="class")
    def pixels(self, encoder: ImageEncoder, named_images: list[tuple[Image.Image, str]]) -> torch.Tensor:
        """Return ``named_images`` as a module sees them."""
        if not isinstance(encoder, Differentiable):
            pytest.skip("not Differentiable: the encoder does not let gradients through")
        return encoder.normalise(_stack(encoder, named_images))

    def test_embedding_pixels_is_encoding_images(
        self, encoder: Differentiable, pixels: torch.Tensor, vectors: FloatArray
    ) -> None:
        rows = encoder.embed(pixels)
        assert not rows.requires_grad, "its weights are not frozen"
        assert_same_rows(rows.numpy(), vectors, _SAME_SUMS)

    def test_a_finite_gradient_flows_to_every_pixel_that_is_asked_for(
        self, encoder: Differentiable, pixels: torch.Tensor
    ) -> None:
        asked = pixels[:2].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(encoder.embed(asked).square().sum(), asked)
        assert gradient.isfinite().all()
        assert (gradient.flatten(1).norm(dim=1) > 0).all()

    def test_the_models_own_head_makes_the_vectors_of_the_feature_map(
        self, encoder: ImageEncoder, pixels: torch.Tensor, vectors: FloatArray
    ) -> None:
        if not isinstance(encoder, FeatureMaps):
            pytest.skip("no FeatureMaps: the encoder has no features before pooling to show")
        features = encoder.feature_map(pixels)
        rows, columns = features.grid
        assert features.values.dtype == torch.float32
        assert features.values.ndim == 3
        assert (features.values.shape[0], features.values.shape[1] >= rows * columns) == (len(vectors), True)
        assert_same_rows(encoder.head(features).numpy(), vectors, _SAME_SUMS)

    def test_rows_that_are_said_to_be_sums_over_places_are(
        self, encoder: ImageEncoder, pixels: torch.Tensor, vectors: FloatArray
    ) -> None:
        if not isinstance(encoder, SumOfPlaces):
            pytest.skip("no SumOfPlaces: the encoder does not pool by mean or maximum alone")
        shares = encoder.shares(pixels)
        assert shares.parts.shape == (len(vectors), shares.grid[0] * shares.grid[1], vectors.shape[1])
        assert_same_rows(shares.rows.numpy(), vectors, _SAME_SUMS)
        assert_same_rows((shares.base + shares.parts.sum(1)).numpy(), vectors, _SAME_SUMS)

    def test_rows_that_are_said_to_be_read_by_attention_are(
        self, encoder: ImageEncoder, pixels: torch.Tensor, vectors: FloatArray
    ) -> None:
        if not isinstance(encoder, AttentionPooled):
            pytest.skip("no AttentionPooled: the encoder does not read its rows off its last tokens by attention")
        tokens = encoder.pooled_tokens(pixels)
        rows = [pooling.rows(each.values) for pooling, each in zip(encoder.poolings, tokens, strict=True)]
        if len(rows) > 1:
            rows = [normalize(each) for each in rows]
        assert_same_rows(torch.cat(rows, 1).numpy(), vectors, _SAME_SUMS)

    def test_hooked_blocks_see_the_tokens_and_what_a_hook_changes_matters(
        self, encoder: ImageEncoder, pixels: torch.Tensor
    ) -> None:
        if not isinstance(encoder, AttentionBlocks):
            pytest.skip("no AttentionBlocks: the encoder is no transformer that is known")
        seen: list[tuple[torch.nn.Module, torch.Tensor, torch.Tensor]] = []
        handles = [
            block.register_forward_hook(lambda block, inputs, output: seen.append((block, inputs[0], output)))
            for block in encoder.blocks
        ]
        plain = encoder.embed(pixels)
        handles.append(encoder.blocks[-1].register_forward_hook(lambda block, inputs, output: 2 * output + 1))
        changed = encoder.embed(pixels)
        for handle in handles:
            handle.remove()
        assert [block for block, _, _ in seen] == 2 * list(encoder.blocks)
        for _, tokens, output in seen:
            assert tokens.ndim == 3
            assert len(tokens) == len(pixels)
            assert output.shape == tokens.shape
        assert not torch.allclose(plain, changed)
        torch.testing.assert_close(encoder.embed(pixels), plain)


class TextEncoderContract(_EncoderContract):
    """What an encoder of texts must do."""

    @pytest.fixture(scope="class")
    def text_encoder(self, encoder_id: str) -> TextEncoder:
        """Load the encoder under test."""
        return registry.load_text_encoder(encoder_id, device="cpu", dtype="float32")

    @pytest.fixture(scope="class")
    def texts(self, text_encoder: TextEncoder) -> list[str]:
        """Return texts that the encoder knows and tells apart."""
        return list(text_encoder.vocabulary or ("a dog", "a red square on grass", "two cats in the snow", "dog"))

    def test_is_a_text_encoder(self, text_encoder: TextEncoder) -> None:
        assert isinstance(text_encoder, TextEncoder)

    def test_texts_become_unit_rows(self, text_encoder: TextEncoder, texts: list[str]) -> None:
        rows = text_encoder.encode_texts(texts)
        assert rows.dtype == torch.float32
        assert rows.shape == (len(texts), text_encoder.text_dim)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(texts)), atol=1e-5, rtol=0)
        rows -= 1  # an inference tensor would refuse

    def test_no_texts_become_no_rows(self, text_encoder: TextEncoder) -> None:
        assert text_encoder.encode_texts([]).shape == (0, text_encoder.text_dim)

    def test_a_row_depends_on_its_text_only(self, text_encoder: TextEncoder, texts: list[str]) -> None:
        together = text_encoder.encode_texts(texts).numpy()
        assert len(np.unique(together.round(6), axis=0)) == len(texts)
        singly = np.concatenate([text_encoder.encode_texts([text]).numpy() for text in texts])
        assert_same_rows(singly, together)
        many = text_encoder.encode_texts((texts[::-1] * 700)[:700]).numpy()
        assert_same_rows(many[: len(texts)], together[::-1][:700])
        assert_same_rows(many[-1:], many[(len(many) - 1) % len(texts)][np.newaxis])

    @pytest.mark.parametrize("block", [0, -1])
    def test_reading_the_tokens_that_it_shows_gives_the_rows(
        self, text_encoder: TextEncoder, texts: list[str], block: int
    ) -> None:
        if not isinstance(text_encoder, TokenizedTexts):
            pytest.skip("no TokenizedTexts: the encoder does not show the tokens of its texts")
        tokens = text_encoder.text_tokens(texts, block)
        rows = normalize(tokens.read(tokens.values))
        assert_same_rows(rows.numpy(), text_encoder.encode_texts(texts).numpy(), _SAME_SUMS)
        changed = (tokens.values != tokens.references).any(2)
        for words, differs in zip(tokens.words, changed, strict=True):
            assert differs[tokens.start : tokens.start + len(words)].all()
            assert block or differs.sum() == len(words)

    def test_its_id_loads_it_again(self, text_encoder: TextEncoder, texts: list[str]) -> None:
        again = registry.load_text_encoder(text_encoder.id, device="cpu", dtype="float32")
        assert again.id == text_encoder.id
        assert torch.equal(again.encode_texts(texts), text_encoder.encode_texts(texts))

    def test_a_text_beyond_a_closed_vocabulary_is_an_error_naming_the_nearest(self, text_encoder: TextEncoder) -> None:
        if text_encoder.vocabulary is None:
            assert text_encoder.encode_texts(["a sentence that nobody has written before"]).shape[0] == 1
            return
        known = text_encoder.vocabulary[0]
        with pytest.raises(UnknownVectorError, match=known):
            text_encoder.encode_texts([f"{known}x"])


class DualEncoderContract(ImageEncoderContract, TextEncoderContract):
    """What a CLIP model must do."""

    def test_both_towers_share_one_space(self, encoder_id: str) -> None:
        model = registry.load_clip(encoder_id, device="cpu", dtype="float32")
        assert isinstance(model, DualEncoder)
        assert registry.require_text(model) is model
        assert model.image_dim == model.text_dim


def draw_image(size: tuple[int, int], seed: int) -> Image.Image:
    """Draw an RGB image of smooth random colours, so that every way of resizing it agrees on what it shows."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def embed_images(encoder: ImageEncoder, named_images: Sequence[tuple[Image.Image, str]]) -> FloatArray:
    """Map n images with their paths to (n, image_dim) float32, in one batch."""
    return encoder.encode_images(_stack(encoder, named_images)).cpu().numpy()


def _stack(encoder: ImageEncoder, named_images: Sequence[tuple[Image.Image, str]]) -> torch.Tensor:
    return torch.stack([model_input(encoder, image, name) for image, name in named_images])


def assert_same_rows(actual: FloatArray, expected: FloatArray, tolerance: float = _TOLERANCE) -> None:
    """Fail unless each row differs from the expected one by less than that part of its length."""
    assert actual.shape == expected.shape
    distance = np.linalg.norm(actual - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert distance.max() < tolerance, f"largest relative distance {distance.max():.2e}"
