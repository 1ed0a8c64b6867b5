"""Sentences about vectors: true of drawn scenes, and like people's own about real photographs.

Drawn world: the bundled decoder on scenes it never saw, through aligned backbones. A sentence about one object is right when
it is true and names the object. Of several objects, those named are paired with those there whose looks they tell rightly.
Real: a decoder trained on the captions of flickr-mini's ``train`` photographs, on the 742 ``test`` photographs.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.concepts._caption_scores import bleu4, cider_d
from benchmarks.world import BACKBONES, FIT_SEED, POOL_SEED, rows_of
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.concepts.describe.sentences import Describer, load_describer
from t2c_search.concepts.describe.training import Captions, DecoderRecipe, train_decoder
from t2c_search.decoding.decode import decode_file
from t2c_search.demo.truth import Pattern, Thing, Truth, read
from t2c_search.demo.world import draw
from t2c_search.encoders import mini, registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.errors import UsageError
from t2c_search.types import FloatArray

RIGHT, THERE, NAMED = 0.90, 0.85, 0.60  # bars, through mini:cnn
DECAP = {"CIDEr": 56.7, "BLEU-4": 21.2}  # Li et al., ICLR 2023, table 2: Flickr30k, CLIP ViT-B/32, 145,000 captions
BATCH = 64


def measure(quick: bool) -> Measured:
    scenes, pairs = (40, 200) if quick else (1000, 2000)
    drawn = _drawn_world(scenes, pairs)
    tables = [
        table(
            f"sentences about {scenes} drawn scenes", drawn, ["one object, right", "named are there", "there are named"]
        )
    ]
    cnn = drawn["mini:cnn aligned"]
    bars = [
        Bar("sentences, mini:cnn, one object, right", cnn["one object, right"], RIGHT),
        Bar("sentences, mini:cnn, objects named that are there", cnn["named are there"], THERE),
        Bar("sentences, mini:cnn, objects there that are named", cnn["there are named"], NAMED),
    ]
    figures: dict[str, Any] = {"drawn": drawn}
    if (folder := real_data()) is not None and not quick:
        photos, spoken = _photographs(folder)
        figures |= {"photographs": photos, "said": spoken}
        title = f"sentences about {len(spoken)} test photographs of Flickr8k, times 100"
        published = {"DeCap as published, of Flickr30k": DECAP}
        tables.append(table(title, {**photos, **published}, ["CIDEr", "BLEU-4", "cosine"]))
        control = max(photos[name]["CIDEr"] for name in photos if name.startswith("nearest"))
        bars.append(
            Bar("sentences, photographs, CIDEr over the nearest caption's", photos["sentences"]["CIDEr"] / control, 1.0)
        )
    return Measured(figures, tables, bars)


def _drawn_world(scenes: int, pairs: int) -> dict[str, dict[str, float]]:
    """Shares by whose vectors they are; the control are true sentences about other scenes."""
    clip = registry.load("mini")
    assert isinstance(clip, DualEncoder)
    describer = load_describer(mini.path("decoder"), encoder_ref(clip))
    pool, fitting = list(draw(POOL_SEED, scenes)), list(draw(FIT_SEED, pairs))
    truths = [scene.truth for scene in pool]
    backbones = [registry.load_image_encoder(name) for name in BACKBONES]
    own, *features = rows_of([clip, *backbones], pool)
    known, *known_features = rows_of([clip, *backbones], fitting)
    vectors = {"mini CLIP": torch.nn.functional.normalize(own, dim=1)}
    for backbone, rows, seen in zip(backbones, features, known_features, strict=True):
        aligner, _ = fit_aligner(
            [([str(scene.index) for scene in fitting], seen, known)],
            backbone=encoder_ref(backbone),
            clip=encoder_ref(clip),
            recipe=FitRecipe(concepts=clip.encode_texts(concept_vocabulary(clip.id))),
        )
        vectors[f"{backbone.id} aligned"] = aligner(rows)
    found = {name: _shares(_say(describer, clip, rows.numpy()), truths) for name, rows in vectors.items()}
    said = _say(describer, clip, vectors["mini:cnn aligned"].numpy())
    return {**found, "control: mini:cnn, the next scene's sentence": _shares([*said[1:], said[0]], truths)}


def _say(describer: Describer, clip: DualEncoder, rows: FloatArray) -> list[str]:
    return [sentence.text for sentence in describer.describe(rows, rows.mean(0), _embedding(clip))]


def _embedding(clip: DualEncoder) -> Any:
    return lambda texts: clip.encode_texts(list(texts)).cpu().numpy()


def _shares(said: Sequence[str], truths: Sequence[Truth]) -> dict[str, float]:
    right, named, there, both = [], 0, 0, 0
    for text, truth in zip(said, truths, strict=True):
        patterns = _objects(text)
        if len(truth.things) == 1:
            right.append(bool(patterns) and truth.matches_text(text))
        else:
            named, there = named + len(patterns), there + len(truth.things)
            both += _paired(patterns, truth.things)
    return {
        "one object, right": float(np.mean(right)),
        "named are there": both / max(named, 1),
        "there are named": both / there,
    }


def _objects(text: str) -> list[Pattern]:
    """The objects that a sentence names, one of a count as often as it says; none where it is not of the world's grammar."""
    try:
        return [pattern for pattern in read(text).patterns for _ in range(pattern.count or 1)]
    except UsageError:
        return []


def _paired(patterns: Sequence[Pattern], things: Sequence[Thing]) -> int:
    """How many of the patterns can each have a fitting thing of its own."""
    fits = np.array([[pattern.fits(thing) for thing in things] for pattern in patterns], float).reshape(-1, len(things))
    return int(fits[linear_sum_assignment(-fits)].sum())


def _photographs(folder: Path) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Scores of the sentences and of the controls, and each photograph's sentence."""
    clip = registry.load(f"open_clip:local-dir:{folder}/open_clip/flickr-mini", device="cpu")
    assert isinstance(clip, DualEncoder)
    embed_texts = _embedding(clip)

    def embed(texts: list[str]) -> torch.Tensor:
        return torch.cat([clip.encode_texts(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])

    captions = _captions(folder, "test")
    learnt = _captions(folder, "train")
    lessons = Captions.of(chain(*learnt.values()), embed)
    texts, known = lessons.texts, lessons.vectors.numpy()
    rows = _image_rows(clip, [folder / "photos" / "images" / name for name in captions])
    trained = train_decoder(lessons, DecoderRecipe(), seed=0)
    said = Describer(trained.decoder, trained.tokenizer).describe(rows, rows.mean(0), embed_texts)
    references = list(captions.values())

    def scores(sentences: Sequence[str], known: Sequence[Sequence[str]] = references) -> dict[str, float]:
        return {"CIDEr": 100 * cider_d(sentences, known), "BLEU-4": 100 * bleu4(sentences, known)}

    def nearest(images: FloatArray, captions: FloatArray) -> list[str]:
        return [texts[row] for row in (_unit(images) @ _unit(captions).T).argmax(1)]

    return {
        "sentences": {**scores([each.text for each in said]), "cosine": float(np.mean([each.cosine for each in said]))},
        "nearest train caption": scores(nearest(rows, known)),
        "nearest train caption, both centred": scores(nearest(rows - rows.mean(0), known - known.mean(0))),
        "a person's, against the other four": scores(
            [own for own, *_ in references], [rest for _, *rest in references]
        ),
    }, dict(zip(captions, (each.text for each in said), strict=True))


def _captions(folder: Path, split: str) -> dict[str, list[str]]:
    """The captions of a split's photographs, by name."""
    found: dict[str, list[str]] = {}
    with (folder / "photos" / "captions.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            if row["split"] == split:
                found.setdefault(row["image"], []).append(row["caption"])
    return {name: found[name] for name in sorted(found)}


def _image_rows(clip: Any, files: Sequence[Path]) -> FloatArray:
    parts = []
    for start in range(0, len(files), BATCH):
        pictures = [decode_file(file, decode_size=clip.decode_size) for file in files[start : start + BATCH]]
        parts.append(clip.encode_images(torch.stack([clip.prepare(picture) for picture in pictures])).cpu())
    return _unit(torch.cat(parts).numpy())


def _unit(rows: FloatArray) -> FloatArray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
