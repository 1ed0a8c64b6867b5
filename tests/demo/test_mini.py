"""The shipped mini models: they load through the ordinary loaders, offline, and know the drawn world."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import t2c_search
from t2c_search.concepts.describe.folder import read_decoder
from t2c_search.concepts.describe.sentences import Describer, load_describer
from t2c_search.demo import words
from t2c_search.demo.train.pixels import pixels as as_input
from t2c_search.demo.truth import Truth, read
from t2c_search.demo.world import draw
from t2c_search.encoders import mini, registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.errors import UnknownEncoderError
from t2c_search.types import FloatArray

MEGABYTE = 1_000_000
POOL = 300  # held-out scenes: neither the recipe's seed nor the benchmark's
SHAPES = (
    "a circle",
    "a square",
    "a triangle",
    "a diamond",
    "a star",
    "a heart",
    "a cross",
    "a ring",
    "a crescent",
    "an arrow",
)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([scene.image for scene in draw(41, POOL)])


@pytest.fixture(scope="module")
def truths() -> list[Truth]:
    return [scene.truth for scene in draw(41, POOL)]


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    import open_clip

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{mini.path('clip')}")
    return model.eval()


@pytest.fixture(scope="module")
def embed_texts(clip: nn.Module) -> Callable[[list[str]], FloatArray]:
    import open_clip

    tokenizer = open_clip.get_tokenizer(f"local-dir:{mini.path('clip')}")
    with torch.inference_mode():
        return lambda texts: clip.encode_text(tokenizer(texts), normalize=True).detach().numpy()


@pytest.fixture(scope="module")
def image_vectors(clip: nn.Module, images: np.ndarray) -> FloatArray:
    with torch.inference_mode():
        return clip.encode_image(pixels(images), normalize=True).numpy()


def pixels(images: np.ndarray) -> torch.Tensor:
    """As the recipe turns scenes into the models' input, where the models of these tests are."""
    return as_input(images).cpu()


def precision(scores: np.ndarray, truths: list[Truth], text: str, k: int) -> float:
    return float(np.mean([truths[i].matches_text(text) for i in np.argsort(-scores)[:k]]))


def test_all_weights_together_fit_the_wheel() -> None:
    folder = mini.path("clip").parent
    assert sum(file.stat().st_size for file in folder.rglob("*.safetensors")) <= 12 * MEGABYTE


def test_the_package_fits_a_wheel_of_16_megabytes() -> None:
    package, wheel = Path(t2c_search.__file__).parent, BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as files:
        for file in package.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                files.write(file, file.relative_to(package))
    assert wheel.tell() <= 16 * MEGABYTE


def test_an_unknown_mini_model_is_named() -> None:
    with pytest.raises(UnknownEncoderError, match="no mini model 'large'"):
        mini.path("large")


def test_the_clip_transform_leaves_a_scene_as_the_recipe_saw_it(images: np.ndarray) -> None:
    import open_clip
    from PIL import Image

    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{mini.path('clip')}")
    assert torch.allclose(transform(Image.fromarray(images[0])), pixels(images[:1])[0], atol=1e-5)


def test_the_clip_finds_what_texts_name(
    embed_texts: Callable[[list[str]], FloatArray], image_vectors: FloatArray, truths: list[Truth]
) -> None:
    texts = [*SHAPES, "on grass", "at night", "in the snow", "a red object", "a crimson thing", "a blue shape"]
    scores = embed_texts(texts) @ image_vectors.T
    found = [precision(row, truths, text, 10) for row, text in zip(scores, texts, strict=True)]
    assert np.mean(found) >= 0.95, dict(zip(texts, found, strict=True))


def test_synonyms_lie_together(embed_texts: Callable[[list[str]], FloatArray]) -> None:
    disc, circle, other = embed_texts(["a crimson disc", "a red circle", "a blue star"])
    assert disc @ circle > 0.9
    assert disc @ other < disc @ circle - 0.2


@pytest.fixture(scope="module")
def others(clip: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """A thousand other scenes as the models take them, and as the CLIP model sees them (1000, d)."""
    taken = pixels(np.stack([scene.image for scene in draw(42, 1000)]))
    with torch.inference_mode():
        return taken, clip.encode_image(taken, normalize=True).double()


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_a_backbone_aligned_to_the_clip_answers_texts(
    name: str,
    embed_texts: Callable[[list[str]], FloatArray],
    image_vectors: FloatArray,
    images: np.ndarray,
    truths: list[Truth],
    others: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """A ridge from 1,000 other scenes' features: backgrounds and colours come across, by far better than chance."""
    import timm

    backbone = timm.create_model(f"local-dir:{mini.path(name)}", pretrained=True, num_classes=0).eval()
    assert tuple(backbone.pretrained_cfg["input_size"]) == (3, 96, 96)
    with torch.inference_mode():
        X, Y = backbone(others[0]).double(), others[1]
        x = backbone(pixels(images)).double()
    mean, centre = X.mean(0), Y.mean(0)
    gram = (X - mean).T @ (X - mean)
    ridge = torch.linalg.solve(
        gram + gram.trace() / len(gram) * 0.01 * torch.eye(len(gram)), (X - mean).T @ (Y - centre)
    )
    aligned = ((x - mean) @ ridge + centre).numpy()
    texts = ["on grass", "at night", "on a brick wall", "a red object", "a blue object", "a pink thing"]
    scores = embed_texts(texts) @ aligned.T
    found = [precision(row, truths, text, 10) for row, text in zip(scores, texts, strict=True)]
    assert np.mean(found) >= 0.9, dict(zip(texts, found, strict=True))


@pytest.fixture(scope="module")
def describer() -> Describer:
    """The bundled decoder, which is of the mini CLIP's space."""
    return load_describer(mini.path("decoder"), encoder_ref(registry.load_clip("mini")))


def test_the_decoder_says_what_a_text_vector_means(
    describer: Describer, embed_texts: Callable[[list[str]], FloatArray]
) -> None:
    """Every pair of colour and shape comes back from its text's vector."""
    asked = [(colour, shape) for colour in words.COLOURS for shape in words.SHAPES]
    centre = read_decoder(mini.path("decoder"))[1].centre.numpy()
    rows = embed_texts([f"a {colour} {shape} on grass" for colour, shape in asked])
    said = [sentence.text for sentence in describer.describe(rows, centre, embed_texts)]
    patterns = [read(text).patterns for text in said]
    right = [bool(p) and (p[0].colour, p[0].shape) == pair for p, pair in zip(patterns, asked, strict=True)]
    assert np.mean(right) >= 0.8, said


def test_the_decoder_describes_scenes_truly(
    describer: Describer, image_vectors: FloatArray, truths: list[Truth], embed_texts: Callable[[list[str]], FloatArray]
) -> None:
    """Of scenes of one object its sentences are nearly all true; described by another scene's sentence, few are."""
    alone = [i for i, truth in enumerate(truths) if len(truth.things) == 1]
    told = describer.describe(image_vectors[alone], image_vectors.mean(0), embed_texts)
    own = [truths[i].matches_text(sentence.text) for i, sentence in zip(alone, told, strict=True)]
    other = [truths[i].matches_text(sentence.text) for i, sentence in zip(alone[1:], told, strict=False)]
    assert np.mean(own) > 0.9
    assert np.mean(other) < 0.2
    assert np.mean([sentence.cosine for sentence in told]) > 0.7
