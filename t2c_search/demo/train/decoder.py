"""Train the mini decoder on captions' text alone: from a caption's CLIP vector back to the caption."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from t2c_search.concepts.decoder import PAD, Decoder, DecoderShape, write_shape
from t2c_search.demo.captions import captions
from t2c_search.demo.train.lessons import CAPTIONS_EACH, OPEN, Statements
from t2c_search.demo.train.loop import Course, Log, device, save, train
from t2c_search.demo.words import listing
from t2c_search.demo.world import draw


@dataclass(frozen=True, slots=True)
class DecoderRecipe:
    """The constants of the mini decoder and of its training."""

    width: int = 128
    layers: int = 3
    heads: int = 4
    memory: int = 2048  # texts
    temperature: float = 0.01
    scenes: int = 15_000  # whose captions are read
    noise: float = 0.02  # per dimension, added to unit vectors: recalled vectors never lie exactly on a caption's
    steps: int = 1200
    batch: int = 256
    rate: float = 2e-3
    weight_decay: float = 0.01


def drawn(seed: int, n: int) -> dict[str, bytes]:
    """The first ``n`` scenes' captions, and every word; other lessons, other bytes."""
    said = [text for scene in draw(seed, n) for text in captions(scene, CAPTIONS_EACH)]
    return {"captions": "\n".join(said).encode(), "words": listing().encode()}


def train_decoder(folder: Path, recipe: DecoderRecipe, *, seed: int, log: Log) -> None:
    """Train the mini decoder in the space of the mini CLIP, which must be in ``clip`` beside ``folder``, and write it."""
    import open_clip

    source = folder.parent / "clip"
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{source}")
    texts = sorted({text for scene in draw(seed, recipe.scenes) for text in captions(scene, CAPTIONS_EACH)})
    tokens = open_clip.get_tokenizer(f"local-dir:{source}")(texts)
    vectors = _embed(clip.eval().to(device()), tokens)
    shutil.copy(source / "tokenizer.json", folder)
    vocabulary = _vocabulary(folder)
    shape = DecoderShape(
        len(vocabulary),
        vectors.shape[1],
        recipe.width,
        recipe.layers,
        recipe.heads,
        tokens.shape[1],
        recipe.memory,
        recipe.temperature,
    )
    write_shape(shape, folder)
    torch.manual_seed(seed)
    model = Decoder(shape).to(device())
    rng = np.random.default_rng(seed)
    model.memory.copy_(vectors[_telling(texts, recipe.memory, rng)])

    def loss(step: int) -> torch.Tensor:
        rows = torch.from_numpy(rng.integers(0, len(tokens), recipe.batch))
        words = tokens[rows].to(device())
        words = words[:, : int((words != vocabulary[PAD]).sum(1).max())]
        noise = recipe.noise * torch.randn(recipe.batch, shape.dim, device=device())
        heard = F.normalize(vectors[rows] + noise, dim=1)
        logits = model(heard, words[:, :-1])[:, 1:]  # position 0 is the vector's own, before [BOS]
        return F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten(), ignore_index=vocabulary[PAD])

    train(model, loss, Course(recipe.steps, recipe.rate, recipe.weight_decay), log)
    save(model, folder / "model.safetensors")


@torch.inference_mode()
def _embed(clip: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    parts = [clip.encode_text(part.to(device()), normalize=True) for part in torch.split(tokens, 2048)]  # type: ignore[operator]
    return torch.cat(parts)


def _telling(texts: list[str], count: int, rng: np.random.Generator) -> torch.Tensor:
    """Rows of ``count`` texts that tell much: a colour and a shape, on a background."""
    said = Statements.of(texts)
    named = (said.patterns[:, 0, :2] != OPEN).all(1)
    return torch.from_numpy(rng.choice(np.flatnonzero(named & (said.background != OPEN)), count, replace=False))


def _vocabulary(folder: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    words: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return words
