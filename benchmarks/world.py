"""How well the mini models know the drawn world: average precision of 200 random constraints, by kind.

    python -m benchmarks.world

Every scene of the pool is ranked by cosine with each constraint's text; which scenes really match, the world says. The
peer of the aligned backbone is the mini CLIP itself in the same run. Chance is the share of scenes that match.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks._common import Bar, finish, options, table
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.concepts.describe.sentences import load_describer
from t2c_search.demo import words
from t2c_search.demo.dice import Dice
from t2c_search.demo.words import with_article
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders import mini, registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import DualEncoder, ImageEncoder
from t2c_search.errors import UsageError

BACKBONES = ("mini:cnn", "mini:vit")
POOL_SEED, FIT_SEED, CONSTRAINT_SEED = 101, 102, 103  # none is the recipe's
POOL = 2000
PAIRS = 4000
BATCH = 250
COUNTS = {"shape": 10, "background": 8, "colour+shape": 80, "fill": 30, "count": 14, "relation": 58}  # 200 together
BARS = {"shape": 0.95, "background": 0.98, "colour+shape": 0.85}  # of the mini CLIP
WITHIN = 0.9  # of the mini CLIP's own figures, for the aligned CNN


def constraints() -> dict[str, list[str]]:
    """The 200 constraints by kind; shapes, backgrounds and pairs of colour and shape each occur once."""
    dice = Dice(CONSTRAINT_SEED)
    shapes, colours, fills = (list(names) for names in (words.SHAPES, words.COLOURS, words.FILLS))

    def say(names: dict[str, tuple[str, ...]], name: str) -> str:
        return dice.choice(names[name])

    def shape(name: str) -> str:
        return say(words.SHAPES, name)

    def stands(relation: str) -> str:
        first, second = dice.sample(shapes, 2)
        return f"{with_article(shape(first))} {say(words.RELATIONS, relation)} {with_article(shape(second))}"

    relations = list(words.RELATIONS)
    return {
        "shape": [with_article(shape(name)) for name in shapes],
        "background": [say(words.BACKGROUNDS, name) for name in words.BACKGROUNDS],
        "colour+shape": [with_article(f"{say(words.COLOURS, c)} {shape(s)}") for c in colours for s in shapes],
        "fill": [with_article(f"{say(words.FILLS, f)} {shape(s)}") for f in fills for s in shapes],
        "count": [
            *(f"{names[0]} {'object' if n == 1 else 'objects'}" for n, names in words.COUNTS.items()),
            *(f"two {words.plural(shape(name))}" for name in shapes),
        ],
        "relation": [stands(relations[i % len(relations)]) for i in range(COUNTS["relation"])],
    }


def embed(encoders: Sequence[ImageEncoder], scenes: Sequence[Scene]) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
    """Batches of ids and of each encoder's rows."""
    for start in range(0, len(scenes), BATCH):
        batch = scenes[start : start + BATCH]
        names = [f"{scene.seed}-{scene.index}" for scene in batch]
        pictures = [Image.fromarray(scene.image) for scene in batch]
        rows = []
        for encoder in encoders:
            prepared = [encoder.prepare(picture) for picture in pictures]
            rows.append(encoder.encode_images(torch.stack(prepared)).cpu())
        yield names, rows


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Mean of the precision at each relevant scene, scenes in descending order of score."""
    ordered = relevant[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ordered)[ordered] / (np.flatnonzero(ordered) + 1)).mean())


def rows_of(encoders: Sequence[ImageEncoder], scenes: Sequence[Scene]) -> list[torch.Tensor]:
    """All rows of each encoder, (n, d)."""
    batches = [rows for _, rows in embed(encoders, scenes)]
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def measure(pool_size: int, pairs: int) -> dict[str, dict[str, float]]:
    """Mean average precision by row (chance, mini, each aligned backbone) and kind of constraint."""
    clip = registry.load("mini")
    assert isinstance(clip, DualEncoder)
    backbones = [registry.load_image_encoder(name) for name in BACKBONES]
    pool, fitting = list(draw(POOL_SEED, pool_size)), list(draw(FIT_SEED, pairs))
    asked = constraints()
    assert {kind: len(texts) for kind, texts in asked.items()} == COUNTS
    true, *features = rows_of([clip, *backbones], pool)
    known, *known_features = rows_of([clip, *backbones], fitting)
    ids = [f"{scene.seed}-{scene.index}" for scene in fitting]
    rankings = {"mini": torch.nn.functional.normalize(true, dim=1)}
    for backbone, rows, known_rows in zip(backbones, features, known_features, strict=True):
        aligner, _ = fit_aligner(
            [(ids, known_rows, known)],
            backbone=encoder_ref(backbone),
            clip=encoder_ref(clip),
            recipe=FitRecipe(concepts=clip.encode_texts(concept_vocabulary(clip.id))),
        )
        rankings[f"{backbone.id} aligned"] = aligner(rows)
    return {
        "chance": {kind: _chance(pool, texts) for kind, texts in asked.items()},
        **{
            name: {kind: _mean_average_precision(clip, rows, pool, texts) for kind, texts in asked.items()}
            for name, rows in rankings.items()
        },
    }


def _truth(pool: Sequence[Scene], texts: Sequence[str]) -> np.ndarray:
    """Which text holds for which scene, (texts, scenes) bool."""
    return np.array([[scene.truth.matches_text(text) for scene in pool] for text in texts])


def _chance(pool: Sequence[Scene], texts: Sequence[str]) -> float:
    truth = _truth(pool, texts)
    return float(truth[truth.any(1)].mean())


def _mean_average_precision(
    clip: DualEncoder, rows: torch.Tensor, pool: Sequence[Scene], texts: Sequence[str]
) -> float:
    truth = _truth(pool, texts)  # a text that holds for no scene has no precision
    scores = (clip.encode_texts(texts).cpu() @ rows.cpu().T).numpy()
    return float(np.mean([average_precision(scores[i], truth[i]) for i in np.flatnonzero(truth.any(1))]))


def told_truly(scenes: int) -> float:
    """Share of held-out scenes about which the mini decoder, from their mini CLIP vectors, says a true sentence."""
    clip = registry.load("mini")
    assert isinstance(clip, DualEncoder)
    pool = list(draw(POOL_SEED, scenes))
    rows = torch.nn.functional.normalize(rows_of([clip], pool)[0], dim=1).numpy()
    describer = load_describer(mini.path("decoder"), encoder_ref(clip))
    told = describer.describe(rows, rows.mean(0), lambda texts: clip.encode_texts(texts).cpu().numpy())
    return float(np.mean([_true(scene, sentence.text) for scene, sentence in zip(pool, told, strict=True)]))


def _true(scene: Scene, sentence: str) -> bool:
    try:
        return scene.truth.matches_text(sentence)
    except UsageError:  # not a sentence of the drawn world's language
        return False


def main() -> int:
    chosen = options("world", __doc__)
    figures = measure(500 if chosen.quick else POOL, 1000 if chosen.quick else PAIRS)
    truthful = told_truly(200 if chosen.quick else 1000)
    own, cnn = figures["mini"], figures["mini:cnn aligned"]
    bars = [Bar(f"mini CLIP, {kind}", own[kind], bar) for kind, bar in BARS.items()]
    bars += [
        Bar(f"mini:cnn aligned against the mini CLIP's own, {kind}", cnn[kind] / own[kind], WITHIN) for kind in BARS
    ]
    title = f"mean average precision over {500 if chosen.quick else POOL} held-out scenes, 200 constraints"
    shown = table(title, {"constraints": COUNTS, **figures}, list(COUNTS))
    told = table("the mini decoder", {"true sentences about held-out scenes": {"share": truthful}}, ["share"])
    kept = {"mean_average_precision": figures, "decoder_true_sentences": truthful}
    return finish("world", chosen, kept, [shown, told], bars)


if __name__ == "__main__":
    sys.exit(main())
