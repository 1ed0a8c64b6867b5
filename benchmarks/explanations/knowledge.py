"""Mutual knowledge: what is planted is measured, parts are told what they are, and models by what they share with a text side.

Models stand beside how often they tell the classes: by the drawn world's shapes and colours, and by nouns of photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.nn.functional import normalize

from benchmarks._captions import phrase
from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.explanations._collages import full_size, said_alone
from benchmarks.explanations._models import Model, Picture, align, embed
from benchmarks.explanations._real import real_model
from benchmarks.explanations._scene_parts import RULES, features_of, foregrounds, right_sides, told_parts
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.concepts.vocabulary import DESCRIPTORS, listed
from t2c_search.decoding.decode import decode_file
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.explain.mutual.comparing import Candidate, LabelledImage, Values, ranked, values_of
from t2c_search.explain.mutual.information import entropy_sum, mutual_information
from t2c_search.explain.mutual.looking import Looked, look
from t2c_search.explain.mutual.parts import foreground
from t2c_search.explain.mutual.sides import Descriptors
from t2c_search.query.planning.texts import Texts

MODELS = ("mini", "mini:cnn", "mini:vit")
POOL_SEED, FIT_SEED = 511, 512  # no recipe's seeds
SCENES, FITTED = 150, 2000
QUICK_SCENES, QUICK_FITTED = 4, 60
EACH, QUICK_EACH = 20, 1
"""Images of a class."""
NOUNS = ("dog", "boy", "girl", "bicycle", "ball", "car")
"""Of captions: things that stand in the foreground of a dozen test photographs or more."""
FULL_SIZE = ("dog", "bird", "car", "food", "fruit", "cat")
"""Of the full-size pictures, the words that most of them have."""
PHOTOGRAPHED = ("flickr-mini", "MobileNetV1", "MobileNetV2", "ViT-S")


def measure(quick: bool) -> Measured:
    scenes, fitted = (QUICK_SCENES, QUICK_FITTED) if quick else (SCENES, FITTED)
    models = drawn_models(list(draw(FIT_SEED, fitted)))
    pool = list(draw(POOL_SEED, 8 * scenes))
    single, several = (
        [scene for scene in pool if (len(scene.truth.things) == 1) == alone][:scenes] for alone in (True, False)
    )
    parts = [planted(), told_parts(models, several), foregrounds(models, single), compared(models, single)]
    if (real := real_data()) is not None:
        parts.append(photographs(quick))
    figures = {name: value for part in parts for name, value in part.figures.items()}
    if real is None:
        figures["photographs"] = "the folder of real photographs was not found"
    return Measured(
        figures, [each for part in parts for each in part.tables], [each for part in parts for each in part.bars]
    )


# planted sharing


def planted() -> Measured:
    """Two sides that share k of their descriptors, beside the paper's number and its mended sign."""
    rows: dict[str, dict[str, Any]] = {}
    rising = []
    for side, number in ((15, 4229), (50, 1748), (31, 158)):
        shared = np.arange(side + 1)
        ours = mutual_information(shared, side, side, number)
        rising.append(bool((np.diff(ours[shared >= side * side / number]) > 0).all()))
        for k in dict.fromkeys((0, round(side * side / number), 1, side // 2, side)):
            rows[f"{side} and {side} of {number}, {k} shared"] = {
                "mutual information": float(ours[k]),
                "the paper's, as published": entropy_sum(k, side, side),
                "its sign mended": 2 * np.log(side) - np.log(k) if k else None,
            }
    shown = table("planted sharing, nats", rows, list(next(iter(rows.values()))))
    return Measured({"planted": rows}, [shown], [Bar("planted sharing raises it strictly", min(rising), 1.0)])


# models


def drawn_models(fitting: Sequence[Scene]) -> dict[str, Model]:
    """The mini CLIP itself, and the others aligned to it."""
    clip = registry.load("mini")
    assert isinstance(clip, DualEncoder)
    pictures: list[Picture] = [partial(Image.fromarray, scene.image) for scene in fitting]
    rows = embed(clip, pictures)
    ids = [str(scene.index) for scene in fitting]
    found = {"mini": Model(clip, None, clip, normalize(rows).mean(0))}
    for name in MODELS[1:]:
        encoder = registry.load_image_encoder(name)
        found[f"{name} aligned"] = align(encoder, clip, ids, embed(encoder, pictures), rows)
    return found


def compared(models: Mapping[str, Model], scenes: Sequence[Scene]) -> Measured:
    """Models by what they share with the texts of shapes and colours, beside how often they tell them."""
    texts = _texts(next(iter(models.values())))
    names = concept_vocabulary("mini")
    rows: dict[str, dict[str, Any]] = {}
    for what, wording in (("shape", "a {}"), ("colour", "a {} object")):
        values = [getattr(scene.truth.things[0], what) for scene in scenes]
        classes = sorted(set(values))
        images = [LabelledImage("", str(at), classes.index(value)) for at, value in enumerate(values)]
        asked = [wording.format(each) for each in classes]
        pictures = {str(at): partial(Image.fromarray, scene.image) for at, scene in enumerate(scenes)}
        rows |= _rows(f"drawn {what}s", models, texts, names, asked, images, pictures)
    shown = table(f"what models share with a text side, {len(scenes)} drawn scenes of one object", rows, COLUMNS)
    first = [next(name for name in rows if name.startswith(f"drawn {what}s")) for what in ("shape", "colour")]
    accurate = rows[first[0]]["accuracy"] - min(rows[name]["accuracy"] for name in rows if "shapes" in name)
    return Measured(
        {"models": rows},
        [shown],
        [Bar("shapes: who shares most is no worse than the others at telling them", accurate, 0.0)],
    )


COLUMNS = (
    "information",
    "from",
    "to",
    "behind the first by",
    "at least",
    "AUC",
    "Jaccard",
    "shared",
    "by chance",
    "accuracy",
)


def _rows(
    title: str,
    models: Mapping[str, Model],
    side: Texts,
    names: Sequence[str],
    asked: Sequence[str],
    images: Sequence[LabelledImage],
    pictures: Mapping[str, Picture],
) -> dict[str, dict[str, Any]]:
    descriptors = Descriptors.of(
        [name for name in names if name not in asked], side.rows([n for n in names if n not in asked])
    )
    values: dict[str, Values] = {}
    for name, model in models.items():

        def see(paths: Sequence[str], model: Model = model) -> list[Looked]:
            return look(model.encoder, model.aligner, model.pixels([pictures[path] for path in paths]))

        values[name] = values_of(Candidate(name, see, descriptors, side.rows(asked)), images)
    chance = descriptors.side**2 / len(descriptors.names)
    return {
        f"{title}: {each.model}": {
            "information": each.mutual_information.mean,
            "from": each.mutual_information.low,
            "to": each.mutual_information.high,
            "behind the first by": each.behind and each.behind.mean,
            "at least": each.behind and each.behind.low,
            "AUC": each.auc.mean,
            "Jaccard": each.jaccard.mean,
            "shared": each.shared.mean,
            "by chance": chance,
            "accuracy": each.accuracy and each.accuracy.mean,
        }
        for each in ranked(values)
    }


def photographs(quick: bool) -> Measured:
    """Real models on classes of photographs, in this package's list of descriptors; and the rules for their foreground.

    What the transformer, which was tuned to tell what is salient, takes for the foreground stands in for masks.
    """
    models = {name: real_model(name, quick) for name in (PHOTOGRAPHED[:2] if quick else PHOTOGRAPHED)}
    texts, names = _texts(models["flickr-mini"]), listed(DESCRIPTORS).names[:: 20 if quick else 1]
    rows: dict[str, dict[str, Any]] = {}
    files = {"captions' nouns": said_alone("test", NOUNS)} | (
        {} if quick else {"full size": {word: full_size()[word] for word in FULL_SIZE}}
    )
    for title, of_words in files.items():
        known = {word: several[: QUICK_EACH if quick else EACH] for word, several in of_words.items()}
        images = [LabelledImage("", str(file), at) for at, several in enumerate(known.values()) for file in several]
        pictures = {image.path: partial(decode_file, Path(image.path)) for image in images}
        rows |= _rows(title, models, texts, names, [phrase(word) for word in known], images, pictures)
    shown = [table("what real models share with flickr-mini's texts", rows, COLUMNS)]
    figures: dict[str, Any] = {"photographs": rows}
    if not quick:
        sides = _against_the_transformer(models, list(pictures.values()))
        figures["photographed foregrounds"] = sides
        shown.append(table("the right side is the foreground, full-size photographs", sides, list(RULES)))
    return Measured(figures, shown, [])


def _against_the_transformer(models: Mapping[str, Model], pictures: Sequence[Picture]) -> dict[str, dict[str, float]]:
    masks = []
    for picture in pictures:
        features, grid = features_of(models["ViT-S"], picture)
        masks.append(foreground(features, grid).reshape(grid))
    return {name: right_sides(model, pictures, masks) for name, model in models.items() if name != "ViT-S"}


def _texts(model: Model) -> Texts:
    return Texts(lambda batch: model.clip.encode_texts(batch).cpu().numpy())
