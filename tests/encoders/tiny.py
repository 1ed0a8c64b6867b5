"""Tiny models of every kind, with random weights, in the folders that their libraries read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

# Unlike any default, so that a default preprocessing gives other vectors.
PREPROCESSING = {
    "input_size": [3, 64, 64],
    "interpolation": "bilinear",
    "crop_pct": 0.8,
    "crop_mode": "center",
    "mean": [0.2, 0.4, 0.6],
    "std": [0.3, 0.2, 0.4],
}
OPEN_CLIP_CONFIG = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
_SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
_WORDS = ("[PAD]", "[START]", "[END]", "[UNK]", "a", "the", "two", "in", "on", "red", "dog", "cats", "snow", "grass")


def save_timm(folder: Path, architecture: str, seed: int) -> str:
    """Save a timm test architecture; return its id."""
    torch.manual_seed(seed)
    model = timm.create_model(architecture, num_classes=7, **({"img_size": 64} if "vit" in architecture else {}))
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": architecture,
        "num_classes": 7,
        "pretrained_cfg": {**model.pretrained_cfg, **PREPROCESSING, "num_classes": 7},
        "model_args": {"img_size": 64} if "vit" in architecture else {},
    }
    (folder / "config.json").write_text(json.dumps(config, default=str))
    return f"timm:local-dir:{folder}"


def save_open_clip(folder: Path, seed: int) -> str:
    """Save a CLIP model with a one-layer transformer for each tower; return its id."""
    torch.manual_seed(seed)
    model = open_clip.CLIP(**OPEN_CLIP_CONFIG)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocessing = {"mean": [0.2, 0.4, 0.6], "std": [0.3, 0.2, 0.4], "interpolation": "bilinear"}
    config = {"model_cfg": OPEN_CLIP_CONFIG, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"open_clip:local-dir:{folder}"


def save_st_clip(folder: Path, seed: int) -> str:
    """Save a transformers CLIP model with its processor, as SentenceTransformer loads it; return its id."""
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config={**_SIZE, **special, "vocab_size": len(_WORDS), "max_position_embeddings": 16},
        vision_config={**_SIZE, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=_tokenizer()).save_pretrained(folder)
    return f"st:{folder}"


def save_st_text(folder: Path, seed: int) -> str:
    """Save a transformers BERT with its tokenizer, as SentenceTransformer loads it; return its id."""
    torch.manual_seed(seed)
    config = BertConfig(**_SIZE, vocab_size=len(_WORDS), max_position_embeddings=16)
    BertModel(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return f"st:{folder}"


def save_st_images(folder: Path, seed: int) -> str:
    """Save a transformers vision model without texts, as SentenceTransformer loads it; return its id."""
    torch.manual_seed(seed)
    ViTModel(ViTConfig(**_SIZE, image_size=32, patch_size=8)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"st:{folder}"


def save_st_patches(folder: Path) -> str:
    """Save a model whose images are patches with a mask and a shape, not pixels alone; return its id."""
    texts = {**_SIZE, "vocab_size": len(_WORDS), "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    config = Siglip2Config(text_config=texts, vision_config={**_SIZE, "num_patches": 16, "patch_size": 8})
    Siglip2Model(config).save_pretrained(folder)
    Siglip2Processor(Siglip2ImageProcessor(patch_size=8, max_num_patches=16), _tokenizer()).save_pretrained(folder)
    return f"st:{folder}"


def save_st_siglip(folder: Path, seed: int) -> str:
    """Save a transformers SigLIP, which reads a text off the last of its 64 positions; return its id."""
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "projection_size": 16}
    torch.manual_seed(seed)
    config = SiglipConfig(
        text_config={**_SIZE, **special, "vocab_size": len(_WORDS), "max_position_embeddings": 64},
        vision_config={**_SIZE, "image_size": 32, "patch_size": 8},
    )
    SiglipModel(config).save_pretrained(folder)
    images = SiglipImageProcessor(size={"height": 32, "width": 32})
    SiglipProcessor(images, tokenizer_of_64()).save_pretrained(folder)
    return f"st:{folder}"


def save_open_clip_siglip(folder: Path, seed: int) -> str:
    """Save a SigLIP of open_clip's architecture with a tokenizer of transformers; return its id."""
    texts = {
        "context_length": 64,
        "vocab_size": len(_WORDS),
        "width": 16,
        "heads": 2,
        "layers": 1,
        "hf_tokenizer_name": "own",
    }
    config = {
        "embed_dim": 16,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": OPEN_CLIP_CONFIG["vision_cfg"],
        "text_cfg": {
            **texts,
            "no_causal_mask": True,
            "pool_type": "last",
            "tokenizer_kwargs": {"clean": "canonicalize"},
        },
    }
    torch.manual_seed(seed)
    built = {key: value for key, value in config.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**built)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocessing = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    tokenizer_of_64().save_pretrained(folder)
    return f"open_clip:local-dir:{folder}"


def save_precomputed(folder: Path, images: dict[str, np.ndarray], concepts: dict[str, np.ndarray]) -> str:
    """Save named vectors as two .npy files with their names; return the id."""
    folder.mkdir(parents=True)
    for stem, named in (("image", images), ("concept", concepts)):
        if named:
            np.save(folder / f"{stem}_embeddings.npy", np.stack(list(named.values())))
            (folder / f"{stem}_names.txt").write_text("\n".join(named) + "\n")
    return f"precomputed:{folder}"


FACTORY = '''
"""A user's own backbone."""

import torch
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

SEED = {seed}

def make():
    torch.manual_seed(SEED)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    preprocess = Compose([Resize((40, 30)), ToTensor(), Normalize([0.2, 0.4, 0.6], [0.3, 0.2, 0.4])])
    return module, preprocess

def no_pooling():
    return torch.nn.Conv2d(3, 8, 3), make()[1]

def only_a_module():
    return make()[0]

def breaks():
    raise KeyError("weights.pt")
'''


def save_factory(folder: Path, name: str, seed: int) -> str:
    """Save a Python module with a factory; return its id."""
    (folder / f"{name}.py").write_text(FACTORY.format(seed=seed))
    return f"torch:{name}:make"


PLUGIN = '''
"""A third party's encoder: the mean colour of each quarter of an image."""

import hashlib

import torch
from torchvision.transforms.functional import pil_to_tensor

from t2c_search.types import Fingerprint

class Quarters:
    image_dim = 12
    decode_size = None
    device = torch.device("cpu")

    def __init__(self, name):
        self.id = f"acme:{name}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        self.fingerprint = Fingerprint(digest, digest[::-1])

    def prepare(self, image):
        return pil_to_tensor(image.resize((16, 16)))

    def encode_images(self, batch):
        return torch.nn.functional.adaptive_avg_pool2d(batch.float(), 2).flatten(1)

def load(name, *, device, dtype):
    return Quarters(name)

def load_nothing(name, *, device, dtype):
    return name

class Blind:
    id, image_dim, device = "acme_faulty:blind", 12, torch.device("cpu")

    def encode_images(self, batch):
        return batch

class Former(Quarters):
    def prepare(self, image, name):
        return super().prepare(image)

class Sizeless(Blind):
    def prepare(self, image):
        return pil_to_tensor(image)

def load_faulty(name, *, device, dtype):
    return {"blind": Blind, "sizeless": Sizeless}[name]() if name != "former" else Former(name)
'''


def install_plugin(folder: Path) -> None:
    """Lay out an installed package that registers encoder kinds, as pip would."""
    (folder / "acme_encoders.py").write_text(PLUGIN)
    dist = folder / "acme_encoders-1.2.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-encoders\nVersion: 1.2\n")
    (dist / "entry_points.txt").write_text(
        "[t2c_search.encoders]\n"
        "acme = acme_encoders:load\n"
        "acme_nothing = acme_encoders:load_nothing\n"
        "acme_faulty = acme_encoders:load_faulty\n"
        "acme_gone = acme_encoders:no_such_function\n"
        "timm = acme_encoders:load\n"
    )


def tokenizer_of_64() -> PreTrainedTokenizerFast:
    """Return the tokenizer of the tiny SigLIPs: as SigLIP's own, it gives no mask."""
    return _tokenizer(model_max_length=64, model_input_names=["input_ids"])


def _tokenizer(**given: object) -> PreTrainedTokenizerFast:
    words = {word: index for index, word in enumerate(_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[START] $A [END]", special_tokens=[("[START]", 1), ("[END]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        bos_token="[START]",
        eos_token="[END]",
        unk_token="[UNK]",
        **{"model_max_length": 16, **given},
    )
