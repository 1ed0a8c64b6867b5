"""Every kind of encoder keeps the contract, and gives what its own library gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import timm
import torch
from PIL import Image
from pyarrow import parquet
from sentence_transformers import SentenceTransformer

from t2c_search.encoders import registry
from t2c_search.encoders.capabilities import AttentionPooled, Differentiable, SumOfPlaces, capabilities
from t2c_search.encoders.protocols import ImageEncoder
from t2c_search.errors import UsageError
from t2c_search.testing.encoders import (
    SIZES,
    DualEncoderContract,
    ImageEncoderContract,
    TextEncoderContract,
    draw_image,
)
from t2c_search.types import FloatArray
from tests.encoders import tiny

Named = list[tuple[Image.Image, str]]


@pytest.fixture(scope="class")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="class")
def importable(folder: Path) -> Iterator[Path]:
    """Put the folder on Python's path, as an installed package's is."""
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


class TimmContract(ImageEncoderContract):
    architecture: str

    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return tiny.save_timm(folder / "model", self.architecture, seed=0)

    @pytest.fixture(scope="class")
    def other_id(self, folder: Path) -> str:
        return tiny.save_timm(folder / "other", self.architecture, seed=1)

    @pytest.fixture(scope="class")
    def reference(self, encoder_id: str, named_images: Named) -> FloatArray:
        model = timm.create_model(encoder_id.removeprefix("timm:"), pretrained=True).eval()
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
        with torch.no_grad():
            maps = model.forward_features(torch.stack([transform(image) for image, _ in named_images]))
            return model.forward_head(maps, pre_logits=True).numpy()


class TestTimmConvolutional(TimmContract):
    architecture = "test_resnet"


class TestTimmTransformer(TimmContract):
    architecture = "test_vit"


class StagesContract(ImageEncoderContract):
    """Several stages of a model of timm's: the reference pools what hooks see, in numpy."""

    architecture: str
    capability: type = SumOfPlaces

    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return f"{tiny.save_timm(folder / 'model', self.architecture, seed=0)}?layers=2"

    @pytest.fixture(scope="class")
    def other_id(self, folder: Path) -> str:
        return f"timm:local-dir:{folder / 'model'}?layers=1"

    @pytest.fixture(scope="class")
    def reference(self, encoder_id: str, named_images: Named) -> FloatArray:
        name = encoder_id.removeprefix("timm:").removesuffix("?layers=2")
        model = timm.create_model(name, pretrained=True, num_classes=0).eval()
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
        seen = []
        for stage in self.stages(model):
            stage.register_forward_hook(lambda module, inputs, output: seen.append(output))
        with torch.no_grad():
            embedding = model(torch.stack([transform(image) for image, _ in named_images]))
            pooled = [self.pool(model, output).numpy() for output in seen]
        parts = [embedding.numpy(), *pooled]
        return np.hstack([rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in parts])

    def stages(self, model: torch.nn.Module) -> list[torch.nn.Module]:
        raise NotImplementedError

    def pool(self, model: torch.nn.Module, output: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def test_its_rows_are_of_no_one_map(self, encoder: ImageEncoder) -> None:
        assert capabilities(encoder) == {Differentiable, self.capability}


class TestStagesOfAConvolutionalNet(StagesContract):
    architecture = "test_resnet"

    def stages(self, model: torch.nn.Module) -> list[torch.nn.Module]:
        return [model.layer3, model.layer4]

    def pool(self, model: torch.nn.Module, output: torch.Tensor) -> torch.Tensor:
        return output.mean((2, 3))


class TestStagesOfATransformer(StagesContract):
    architecture = "test_vit"
    capability = AttentionPooled

    def stages(self, model: torch.nn.Module) -> list[torch.nn.Module]:
        return list(model.blocks[-2:])

    def pool(self, model: torch.nn.Module, output: torch.Tensor) -> torch.Tensor:
        return model.norm(output)[:, 0]


class TestStagesOfATransformerThatAverages(StagesContract):
    """The tiny one has a class token beside: it is no place, and counts in no mean."""

    architecture = "test_vit2"

    def stages(self, model: torch.nn.Module) -> list[torch.nn.Module]:
        return list(model.blocks[-2:])

    def pool(self, model: torch.nn.Module, output: torch.Tensor) -> torch.Tensor:
        return model.norm(output)[:, model.num_prefix_tokens :].mean(1)


class TestStagesOfOpenClip(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return f"{tiny.save_open_clip(folder / 'model', seed=0)}?layers=1"

    @pytest.fixture(scope="class")
    def reference(self, encoder_id: str, named_images: Named) -> FloatArray:
        name = encoder_id.removeprefix("open_clip:").removesuffix("?layers=1")
        model, preprocess = open_clip.create_model_from_pretrained(name)
        seen = []
        model.visual.transformer.register_forward_hook(lambda module, inputs, output: seen.append(output))
        with torch.no_grad():
            embedding = model.encode_image(torch.stack([preprocess(image) for image, _ in named_images]))
            parts = [embedding.numpy(), model.visual.ln_post(seen[0])[:, 0].numpy()]
        return np.hstack([rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in parts])

    def test_texts_know_the_last_space_only(self, encoder_id: str) -> None:
        with pytest.raises(UsageError, match="has no text tower, so it cannot be the CLIP model"):
            registry.load_clip(encoder_id, device="cpu")


class TestOpenClip(DualEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return tiny.save_open_clip(folder / "model", seed=0)

    @pytest.fixture(scope="class")
    def other_id(self, folder: Path) -> str:
        return tiny.save_open_clip(folder / "other", seed=1)

    @pytest.fixture(scope="class")
    def reference(self, encoder_id: str, named_images: Named) -> FloatArray:
        model, preprocess = open_clip.create_model_from_pretrained(encoder_id.removeprefix("open_clip:"))
        with torch.no_grad():
            return model.encode_image(torch.stack([preprocess(image) for image, _ in named_images])).numpy()

    def test_texts_are_embedded_as_open_clip_does(self, encoder_id: str, texts: list[str]) -> None:
        name = encoder_id.removeprefix("open_clip:")
        model = open_clip.create_model(name).eval()
        with torch.no_grad():
            expected = model.encode_text(open_clip.get_tokenizer(name)(texts), normalize=True)
        rows = registry.load_text_encoder(encoder_id, device="cpu").encode_texts(texts)
        torch.testing.assert_close(rows, expected)


class TestSentenceTransformersImagesAndTexts(DualEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return tiny.save_st_clip(folder / "model", seed=0)

    @pytest.fixture(scope="class")
    def other_id(self, folder: Path) -> str:
        return tiny.save_st_clip(folder / "other", seed=1)

    @pytest.fixture(scope="class")
    def reference(self, encoder_id: str, named_images: Named) -> FloatArray:
        model = SentenceTransformer(encoder_id.removeprefix("st:"), device="cpu")
        return model.encode([image for image, _ in named_images], show_progress_bar=False)


class TestSentenceTransformersImages(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return tiny.save_st_images(folder / "model", seed=0)

    @pytest.fixture(scope="class")
    def other_id(self, folder: Path) -> str:
        return tiny.save_st_images(folder / "other", seed=1)

    @pytest.fixture(scope="class")
    def reference(self, encoder_id: str, named_images: Named) -> FloatArray:
        model = SentenceTransformer(encoder_id.removeprefix("st:"), device="cpu")
        return model.encode([image for image, _ in named_images], show_progress_bar=False)


class TestSentenceTransformersTexts(TextEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return tiny.save_st_text(folder / "model", seed=0)

    def test_texts_are_embedded_as_sentence_transformers_does(self, encoder_id: str, texts: list[str]) -> None:
        model = SentenceTransformer(encoder_id.removeprefix("st:"), device="cpu")
        expected = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        rows = registry.load_text_encoder(encoder_id, device="cpu").encode_texts(texts)
        np.testing.assert_allclose(rows.numpy(), expected, atol=1e-6)


class TestTorchModule(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, importable: Path) -> str:
        return tiny.save_factory(importable, "own_backbone", seed=0)

    @pytest.fixture(scope="class")
    def other_id(self, importable: Path) -> str:
        return tiny.save_factory(importable, "other_backbone", seed=1)

    @pytest.fixture(scope="class")
    def reference(self, encoder_id: str, named_images: Named) -> FloatArray:
        module, preprocess = import_module(encoder_id.split(":")[1]).make()
        with torch.no_grad():
            return module(torch.stack([preprocess(image) for image, _ in named_images])).numpy()


TIMM_FACTORY = """
import timm
import torch
from torchvision.transforms import Compose, Resize, ToTensor

def make():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=0), Compose([Resize((40, 30)), ToTensor()])
"""


class TestStagesOfATorchModule(ImageEncoderContract):
    """A factory may return a model of timm's."""

    @pytest.fixture(scope="class")
    def encoder_id(self, importable: Path) -> str:
        (importable / "own_stages.py").write_text(TIMM_FACTORY)
        return "torch:own_stages:make?layers=2"


class PrecomputedContract:
    """Images known by name, their vectors, and the same under another seed."""

    @staticmethod
    def rows(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal((len(SIZES), 12)).astype(np.float16)

    @pytest.fixture(scope="class")
    def named_images(self) -> Named:
        return [(draw_image((8, 8), 0), f"/somewhere/photos/{index}.jpg") for index in range(len(SIZES))]

    @pytest.fixture(scope="class")
    def reference(self) -> FloatArray:
        return self.rows(0).astype(np.float32)


class TestPrecomputedPair(PrecomputedContract, DualEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return self.save(folder / "vectors", seed=0)

    @pytest.fixture(scope="class")
    def other_id(self, folder: Path) -> str:
        return self.save(folder / "other", seed=1)

    def save(self, folder: Path, seed: int) -> str:
        images = {f"{index}.jpg": row for index, row in enumerate(self.rows(seed))}
        concepts = dict(zip(("dog", "air conditioner", "Snow"), 7 * self.rows(seed + 10), strict=False))
        return tiny.save_precomputed(folder, images, concepts)


class TestClipRetrievalParts(PrecomputedContract, ImageEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, folder: Path) -> str:
        return self.save(folder / "nested", seed=0, nested=True)

    @pytest.fixture(scope="class")
    def other_id(self, folder: Path) -> str:
        return self.save(folder / "flat", seed=1, nested=False)

    def save(self, folder: Path, *, seed: int, nested: bool) -> str:
        images, metadata = (folder / "img_emb", folder / "metadata") if nested else (folder, folder)
        images.mkdir(parents=True)
        metadata.mkdir(exist_ok=True)
        rows = self.rows(seed)
        for part, (start, stop) in {2: (0, 1), 10: (1, len(rows))}.items():
            np.save(images / f"img_emb_{part}.npy", rows[start:stop])
            paths = [f"/elsewhere/photos/{index}.jpg" for index in range(start, stop)]
            table = pa.table({"image_path": paths, "caption": ["a photo"] * len(paths)})
            parquet.write_table(table, metadata / f"metadata_{part}.parquet")
        return f"precomputed:{folder}"


class TestThirdParty(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def encoder_id(self, importable: Path) -> str:
        tiny.install_plugin(importable)
        return "acme:quarters"
