"""What ``t2c models`` shows: the kinds of encoders, and good choices of each. Dims and sizes are the models' own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model worth choosing: its embedding's dimension, its parameters in millions, what for and why.

    ``places`` is the way in which its vectors are taken apart into an image's places (``attribution.methods``); None of texts.
    """

    id: str
    dim: int
    parameters_m: float
    role: str
    places: str | None
    note: str


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """A kind of encoders: how its ids are written, and good choices of it."""

    name: str
    usage: str
    summary: str
    choices: tuple[ModelChoice, ...] = ()


_CLIP, _BACKBONE, _TEXT = "CLIP model", "backbone", "text tower"
_EXACT, _ANALYTIC, _BANZHAF = "exact", "analytic", "banzhaf"

BUILT_IN = (
    EncoderKind(
        "open_clip",
        "open_clip:NAME/TAG, open_clip:local-dir:PATH",
        "CLIP models: images and texts in one space",
        (
            ModelChoice("open_clip:ViT-B-32/laion2b_s34b_b79k", 512, 151.3, _CLIP, _ANALYTIC, "the default; fast"),
            ModelChoice("open_clip:MobileCLIP2-S0/dfndr2b", 512, 74.8, _CLIP, _EXACT, "fast on CPUs"),
            ModelChoice(
                "open_clip:ViT-B-16/dfn2b", 512, 149.6, _CLIP, _ANALYTIC, "more accurate, 4 times the work of B-32"
            ),
            ModelChoice("open_clip:ViT-L-14/datacomp_xl_s13b_b90k", 768, 427.6, _CLIP, _ANALYTIC, "for a GPU"),
            ModelChoice("open_clip:ViT-B-16-SigLIP2/webli", 768, 375.2, _CLIP, _ANALYTIC, "queries in many languages"),
            ModelChoice(
                "open_clip:ViT-SO400M-14-SigLIP-384/webli",
                1152,
                878.0,
                _CLIP,
                _ANALYTIC,
                "the most accurate; slow",
            ),
        ),
    ),
    EncoderKind(
        "timm",
        "timm:NAME, timm:local-dir:PATH",
        "image models: any of about 1,800 pretrained backbones; ?layers=3 behind an id adds its last three stages",
        (
            ModelChoice(
                "timm:vit_small_patch14_dinov2.lvd142m", 384, 22.1, _BACKBONE, _ANALYTIC, "self-supervised; fine detail"
            ),
            ModelChoice("timm:vit_base_patch14_dinov2.lvd142m", 768, 86.6, _BACKBONE, _ANALYTIC, "the same, larger"),
            ModelChoice("timm:convnext_tiny.in12k_ft_in1k", 768, 27.8, _BACKBONE, _EXACT, "a strong convolutional net"),
            ModelChoice(
                "timm:convnext_base.fb_in22k", 1024, 87.6, _BACKBONE, _EXACT, "the same, larger; 22,000 classes"
            ),
            ModelChoice("timm:resnet50.a1_in1k", 2048, 23.5, _BACKBONE, _EXACT, "the field's yardstick"),
            ModelChoice("timm:mobilenetv3_large_100.ra_in1k", 1280, 4.2, _BACKBONE, _EXACT, "the fastest on CPUs"),
        ),
    ),
    EncoderKind(
        "st",
        "st:NAME, st:PATH",
        "sentence-transformers: models of images and texts, or of texts alone",
        (
            ModelChoice("st:clip-ViT-B-32", 512, 151.3, _CLIP, _BANZHAF, "OpenAI's CLIP"),
            ModelChoice(
                "st:clip-ViT-B-32-multilingual-v1", 512, 135.1, _TEXT, None, "50 languages, for st:clip-ViT-B-32"
            ),
        ),
    ),
    EncoderKind("torch", "torch:module.path:factory", "your own: factory() returns (torch module, preprocessing)"),
    EncoderKind("precomputed", "precomputed:DIR", "a folder of vectors: .npy with names, or clip-retrieval's output"),
    EncoderKind(
        "mini",
        "mini, mini:cnn, mini:vit",
        "bundled, for trying things offline: they know drawn scenes (t2c demo) only, no photographs",
        (
            ModelChoice("mini", 256, 2.0, _CLIP, _ANALYTIC, "drawn scenes only"),
            ModelChoice("mini:cnn", 1280, 0.8, _BACKBONE, _EXACT, "drawn scenes only; never saw a caption"),
            ModelChoice("mini:vit", 192, 1.9, _BACKBONE, _EXACT, "drawn scenes only; learnt from mini:cnn, less exact"),
        ),
    ),
)
