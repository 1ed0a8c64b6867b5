"""How well the mini models know the drawn world: average precision of 200 random constraints, by kind.

    python -m benchmarks.world

Every scene of the pool is ranked by cosine with each constraint's text; which scenes really match, the world says. The
peer of the aligned backbone is the mini CLIP itself in the same run. Chance is the share of scenes that match.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from t2c_search.alignment.fit import fit_aligner
from t2c_search.demo import words
from t2c_search.demo.dice import Dice
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder, ImageEncoder
from t2c_search.models import encoder_ref

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

    def some(noun_phrase: str) -> str:
        return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"

    def shape(name: str) -> str:
        return say(words.SHAPES, name)

    def stands(relation: str) -> str:
        first, second = dice.sample(shapes, 2)
        return f"{some(shape(first))} {say(words.RELATIONS, relation)} {some(shape(second))}"

    relations = list(words.RELATIONS)
    return {
        "shape": [some(shape(name)) for name in shapes],
        "background": [say(words.BACKGROUNDS, name) for name in words.BACKGROUNDS],
        "colour+shape": [some(f"{say(words.COLOURS, c)} {shape(s)}") for c in colours for s in shapes],
        "fill": [some(f"{say(words.FILLS, f)} {shape(s)}") for f in fills for s in shapes],
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
            prepared = [encoder.prepare(picture, name) for picture, name in zip(pictures, names, strict=True)]
            rows.append(encoder.encode_images(torch.stack(prepared)).cpu())
        yield names, rows


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Mean of the precision at each relevant scene, scenes in descending order of score."""
    ordered = relevant[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ordered)[ordered] / (np.flatnonzero(ordered) + 1)).mean())


def measure() -> dict[str, dict[str, float]]:
    """Mean average precision by row (chance, mini, the aligned CNN) and kind of constraint."""
    clip = registry.load("mini")
    assert isinstance(clip, DualEncoder)
    cnn = registry.load_image_encoder("mini:cnn")
    pool, fitting = list(draw(POOL_SEED, POOL)), list(draw(FIT_SEED, PAIRS))
    asked = constraints()
    assert {kind: len(texts) for kind, texts in asked.items()} == COUNTS
    everything = [text for texts in asked.values() for text in texts]

    pool_batches = [rows for _, rows in embed([clip, cnn], pool)]
    true, features = (torch.cat(parts) for parts in zip(*pool_batches, strict=True))
    aligner, _ = fit_aligner(
        ((names, rows[1], rows[0]) for names, rows in embed([clip, cnn], fitting)),
        backbone=encoder_ref(cnn),
        clip=encoder_ref(clip),
        concepts=clip.encode_texts(everything),
    )
    rankings = {"mini": torch.nn.functional.normalize(true, dim=1), "mini:cnn aligned": aligner(features)}

    table: dict[str, dict[str, float]] = {"chance": {}, **{name: {} for name in rankings}}
    for kind, texts in asked.items():
        truth = np.array([[scene.truth.matches_text(text) for scene in pool] for text in texts])
        known = truth.any(1)  # a constraint that no scene of the pool matches has no precision
        table["chance"][kind] = float(truth[known].mean())
        directions = clip.encode_texts(texts).cpu()
        for name, rows in rankings.items():
            scores = (directions @ rows.cpu().T).numpy()
            table[name][kind] = float(np.mean([average_precision(scores[i], truth[i]) for i in np.flatnonzero(known)]))
    return table


def missed(table: dict[str, dict[str, float]]) -> list[str]:
    """The bars that the figures do not reach, in words."""
    short = [f"mini: {k} {table['mini'][k]:.3f} < {bar}" for k, bar in BARS.items() if table["mini"][k] < bar]
    cnn = table["mini:cnn aligned"]
    return short + [
        f"mini:cnn aligned: {kind} {cnn[kind]:.3f} is not within 10 % of {table['mini'][kind]:.3f}"
        for kind in BARS
        if cnn[kind] < WITHIN * table["mini"][kind]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.world", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    as_json = parser.parse_args().json
    started = time.perf_counter()
    table = measure()
    short = missed(table)
    if as_json:
        print(json.dumps({"pool": POOL, "pairs": PAIRS, "mean_average_precision": table, "missed": short}, indent=2))
        return bool(short)
    print(
        f"mean average precision over a pool of {POOL} held-out scenes, 200 constraints; aligners fitted on {PAIRS} pairs"
    )
    print(f"{'':18}" + "".join(f"{kind:>14}" for kind in COUNTS))
    print(f"{'constraints':18}" + "".join(f"{count:>14}" for count in COUNTS.values()))
    for name, figures in table.items():
        print(f"{name:18}" + "".join(f"{figures[kind]:>14.3f}" for kind in COUNTS))
    print(f"{time.perf_counter() - started:.0f} s", *short, sep="\n")
    return bool(short)


if __name__ == "__main__":
    sys.exit(main())
