"""Train the mini decoder on captions' text alone: from a caption's CLIP vector back to the caption."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from t2c_search.concepts.decoder import PAD, Decoder, DecoderShape, write_shape
from t2c_search.demo.captions import captions
from t2c_search.demo.train.lessons import CAPTIONS_EACH, OPEN, Statements
from t2c_search.demo.train.loop import Log, device, save, train
from t2c_search.demo.world import draw

STEPS = 1200
BATCH = 256
RATE = 2e-3
SCENES = 15_000  # whose captions are read
NOISE = 0.02  # per dimension, added to unit vectors: recalled vectors never lie exactly on a caption's
MEMORY = 2048  # texts
WIDTH, LAYERS, HEADS = 128, 3, 4
TEMPERATURE = 0.01


def train_decoder(folder: Path, *, seed: int, log: Log) -> None:
    """Train the mini decoder in the space of the mini CLIP, which must be in ``clip`` beside ``folder``, and write it."""
    import open_clip

    source = folder.parent / "clip"
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{source}")
    texts = sorted({text for scene in draw(seed, SCENES) for text in captions(scene, CAPTIONS_EACH)})
    tokens = open_clip.get_tokenizer(f"local-dir:{source}")(texts)
    vectors = _embed(clip.eval().to(device()), tokens)
    shutil.copy(source / "tokenizer.json", folder)
    vocabulary = _vocabulary(folder)
    shape = DecoderShape(len(vocabulary), vectors.shape[1], WIDTH, LAYERS, HEADS, tokens.shape[1], MEMORY, TEMPERATURE)
    write_shape(shape, folder)
    torch.manual_seed(seed)
    model = Decoder(shape).to(device())
    rng = np.random.default_rng(seed)
    model.memory.copy_(vectors[_telling(texts, rng)])

    def loss(step: int) -> torch.Tensor:
        rows = torch.from_numpy(rng.integers(0, len(tokens), BATCH))
        words = tokens[rows].to(device())
        words = words[:, : int((words != vocabulary[PAD]).sum(1).max())]
        heard = F.normalize(vectors[rows] + NOISE * torch.randn(BATCH, shape.dim, device=device()), dim=1)
        logits = model(heard, words[:, :-1])[:, 1:]  # position 0 is the vector's own, before [BOS]
        return F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten(), ignore_index=vocabulary[PAD])

    train(model, loss, steps=STEPS, rate=RATE, weight_decay=0.01, log=log)
    save(model, folder / "model.safetensors")


@torch.inference_mode()
def _embed(clip: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    parts = [clip.encode_text(part.to(device()), normalize=True) for part in torch.split(tokens, 2048)]  # type: ignore[operator]
    return torch.cat(parts).clone()


def _telling(texts: list[str], rng: np.random.Generator) -> torch.Tensor:
    """Rows of MEMORY texts that tell much: a colour and a shape, on a background."""
    said = Statements.of(texts)
    named = (said.patterns[:, 0, :2] != OPEN).all(1)
    return torch.from_numpy(rng.choice(np.flatnonzero(named & (said.background != OPEN)), MEMORY, replace=False))


def _vocabulary(folder: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    words: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return words
