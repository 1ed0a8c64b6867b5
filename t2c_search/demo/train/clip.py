"""Train the mini CLIP: two towers from nothing, by which caption is true of which scene of the batch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from t2c_search.concepts.describe.loop import Course, Log, device, save, train
from t2c_search.demo import words
from t2c_search.demo.backgrounds import SIDE
from t2c_search.demo.captions import bindings, names
from t2c_search.demo.train.lessons import Lessons, Statements, agree
from t2c_search.demo.train.pixels import MEAN, STD, pixels
from t2c_search.demo.world import close_ups, draw

Tokenize = Callable[[list[str]], torch.Tensor]
SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")


@dataclass(frozen=True, slots=True)
class ClipRecipe:
    """The constants of the mini CLIP and of its training."""

    dim: int = 256
    layers: tuple[int, ...] = (1, 2, 2, 1)
    width: int = 16
    head_width: int = 64
    text_layers: int = 2
    text_width: int = 128
    text_heads: int = 4
    context: int = 20  # tokens: the longest caption, 18, and its two ends
    close_ups: int = 16_000  # scenes of one object, 64 x 64
    scenes: int = 60_000
    first: int = 500  # steps on close-ups and names: from scenes of four objects alone, shapes are hardly learnt at all
    first_batch: int = 384
    first_captions_each: int = 1
    steps: int = 2600  # all of them
    batch: int = 192
    captions_each: int = 2
    rate: float = 2e-3
    sharpest: float = 60.0  # limit of the logit scale
    last: int = 400  # steps with a low scale: it asks for cosines far apart, which survive an aligner's linear map
    last_rate: float = 1e-3
    last_sharpest: float = 8.0
    weight_decay: float = 0.05


def vocabulary() -> dict[str, int]:
    """Every word of the drawn world with its token, after the special ones."""
    spoken: set[str] = set(words.ARTICLES) | {"and", "object", "background"}
    nouns = [*words.ANYTHING, *(noun for synonyms in words.SHAPES.values() for noun in synonyms)]
    spoken |= {form for noun in nouns for form in (noun, words.plural(noun))}
    spoken |= {
        word for table in words.TABLES for phrases in table.values() for phrase in phrases for word in phrase.split()
    }
    return {word: token for token, word in enumerate([*SPECIAL, *sorted(spoken)])}


def drawn(seed: int, n: int) -> dict[str, bytes]:
    """The first ``n`` of each thing that the model is trained on, and every word and phrase; other lessons, other bytes."""
    scenes, near = Lessons.of(draw(seed, n)), Lessons.of(close_ups(seed, n), say=names)
    return {
        "scenes": scenes.images.tobytes(),
        "captions": "\n".join(scenes.spoken()).encode(),
        "truth": agree(Statements.of(scenes.texts), scenes.truths).tobytes(),
        "close-ups": near.images.tobytes(),
        "names": "\n".join(near.spoken()).encode(),
        "phrases": "\n".join(chain(*bindings())).encode(),
        "words": words.listing().encode(),
    }


def write_configuration(folder: Path, recipe: ClipRecipe) -> dict[str, Any]:
    """Write the model's configuration and its tokenizer into ``folder``; return the model arguments."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocab = vocabulary()
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[BOS]", vocab["[BOS]"]), ("[EOS]", vocab["[EOS]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[BOS] $A [EOS]", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": recipe.context, **roles},
    )
    model = {
        "embed_dim": recipe.dim,
        "vision_cfg": {
            "image_size": SIDE, "layers": list(recipe.layers), "width": recipe.width, "head_width": recipe.head_width,
            "patch_size": None,
        },
        "text_cfg": {
            "context_length": recipe.context, "vocab_size": len(vocab), "hf_tokenizer_name": "mini",
            "width": recipe.text_width, "heads": recipe.text_heads, "layers": recipe.text_layers,
            "pad_id": vocab["[PAD]"], "eos_id": vocab["[EOS]"], "pool_type": "eos",
        },
    }  # fmt: skip
    preprocessing = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    _write(folder / "open_clip_config.json", {"model_cfg": model, "preprocess_cfg": preprocessing})
    return model


def train_clip(folder: Path, recipe: ClipRecipe, *, seed: int, log: Log) -> None:
    """Train the mini CLIP and write it to ``folder`` as an open_clip local-dir."""
    import open_clip

    arguments = write_configuration(folder, recipe)
    torch.manual_seed(seed)
    model = open_clip.CLIP(**arguments).to(device(), memory_format=torch.channels_last)
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    lessons = Lessons.of(draw(seed, recipe.scenes))
    near = Lessons.of(close_ups(seed, recipe.close_ups), say=names)
    losses = partial(_losses, model, tokenize=tokenize, rng=np.random.default_rng(seed))
    begin = losses(near, _Batches(recipe.first_batch, recipe.first_captions_each, recipe.sharpest))
    then = losses(lessons, _Batches(recipe.batch, recipe.captions_each, recipe.sharpest))
    last = losses(lessons, _Batches(recipe.batch, recipe.captions_each, recipe.last_sharpest))

    def loss(step: int) -> torch.Tensor:
        return next(begin if step <= recipe.first else then)

    train(model, loss, Course(recipe.steps - recipe.last, recipe.rate, recipe.weight_decay), log)
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(recipe.last_sharpest))
    ending = Course(recipe.last, recipe.last_rate, recipe.weight_decay)
    train(model, lambda _: next(last), ending, lambda line: log(f"last, {line}"))
    save(model, folder / "open_clip_model.safetensors")


@dataclass(frozen=True, slots=True)
class _Batches:
    """What a stage of the training learns from at once: scenes, captions of each, and the highest logit scale."""

    scenes: int
    captions_each: int
    sharpest: float


class _Said:
    """Texts as tokens, and what they say."""

    def __init__(self, texts: Sequence[str], tokenize: Tokenize) -> None:
        self.tokens, self.statements = tokenize(list(texts)), Statements.of(texts)

    def some(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Rows of ``count`` texts."""
        return rng.choice(len(self.tokens), count, replace=False)


def _losses(
    model: Any,
    lessons: Lessons,
    batches: _Batches,
    *,
    tokenize: Tokenize,
    rng: np.random.Generator,
) -> Iterator[torch.Tensor]:
    """Yield the losses of random batches of scenes and their captions.

    Beside the captions, phrases that bind a colour or a fill to a shape are contrasted among themselves: captions alone are
    told apart well enough by what is in a scene, whatever belongs to what.
    """
    captions = _Said(lessons.texts, tokenize)
    bound = [_Said(phrases, tokenize) for phrases in bindings()]
    while True:
        scenes = rng.choice(len(lessons.images), batches.scenes, replace=False)
        columns = rng.integers(0, lessons.said.shape[1], (batches.scenes, batches.captions_each))
        asked = [(captions, np.unique(lessons.said[scenes[:, None], columns]))]
        asked += [(said, said.some(len(said.tokens) // 2, rng)) for said in bound]
        truths = lessons.truths[scenes]
        with torch.autocast(device().type, torch.bfloat16):
            seen = _see(model, pixels(lessons.images[scenes])).float()
            heard = [_hear(model, said.tokens[rows].to(device())).float() for said, rows in asked]
        true = [torch.from_numpy(agree(said.statements[rows], truths)).to(device()) for said, rows in asked]
        scale = model.logit_scale.exp().clamp(max=batches.sharpest)
        yield torch.stack([_contrast(seen, h, t, scale) for h, t in zip(heard, true, strict=True)]).sum()


def _see(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Encode images; the maps of close-ups are stretched to the 3 x 3 cells that the pooling has positions for."""
    visual = model.visual
    maps = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
    pooled: torch.Tensor = visual.attnpool(F.interpolate(maps, (3, 3), mode="nearest"))
    return pooled


def _hear(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Encode texts, (n, context) tokens, as the model's own ``encode_text`` does, but only as far as the longest goes."""
    ends = (tokens == model.text_eos_id).int().argmax(1)
    length = int(ends.max()) + 1
    words = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    read = model.ln_final(model.transformer(words, attn_mask=model.attn_mask[:length, :length]))
    projected: torch.Tensor = read[torch.arange(len(tokens)), ends] @ model.text_projection
    return projected


def _contrast(seen: torch.Tensor, said: torch.Tensor, true: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Softmax contrastive loss both ways (Radford et al. 2021), all true pairs of the batch being positives.

    Many captions ("a star") are true of many scenes; taking the truth from the world keeps those from being pushed apart.
    """
    logits = scale * F.normalize(said, dim=1) @ F.normalize(seen, dim=1).T
    share = true.float()
    to_scenes = share / share.sum(1, keepdim=True).clamp(min=1) * logits.log_softmax(1)
    to_texts = share / share.sum(0, keepdim=True).clamp(min=1) * logits.log_softmax(0)
    return -to_scenes.sum(1).mean() - 0.5 * to_texts.sum(0).mean()


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
