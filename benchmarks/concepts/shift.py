"""Shift: is the word that was planted named first, are there false alarms, and what does a million vectors take?

Drawn scenes through ``mini:cnn``, an attribute of which half of one side's have and a quarter of the other's; real photographs,
those whose captions say a word against others; vectors made by lot.
"""

from __future__ import annotations

import csv
import re
import time
import tracemalloc
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks._captions import load_photos
from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from benchmarks.world import rows_of
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.concepts.shift import Asked, Chosen, diagnose
from t2c_search.concepts.shift.result import Shift
from t2c_search.concepts.vocabulary import listed
from t2c_search.decoding.decode import decode_file
from t2c_search.demo import words
from t2c_search.demo.words import with_article
from t2c_search.demo.world import Scene, draw
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.query.execution.searcher import Known, Searcher
from t2c_search.query.planning.texts import Texts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import CLIP, Points

POOL_SEED, FIT_SEED, TRIAL_SEED = 111, 112, 113
PLANTED, OTHERS = 0.5, 0.25  # share of a side's scenes that have the attribute
SURE = 0.05
JUDGED = (
    "by g, attributes only, the very word",
    "by g, all 158 words, names it",
)
VISDIFF = "VisDiff on VisDiffBench, easy / medium / hard: Acc@1 .88 / .75 / .61 (another data set, judged by GPT-4)"
REAL_PAIRS, LEAST_SAID = 40, 15
FEW = 50  # photos that side B has at least
Rows = NDArray[np.float32]
Places = NDArray[np.intp]


def measure(quick: bool) -> Measured:
    """Measure all of it; where there are no real photographs, all but those."""
    drawn, bars = _drawn(quick)
    real = {} if quick else _real()
    million, bar = _million(*((10_000, 200) if quick else (1_000_000, 1_000)))
    kinds = ["shape", "colour", "background", "all"]
    tables = [
        table("Planted in drawn scenes, mini:cnn: named first (share of trials)", drawn["planted"], kinds),
        table("Nothing planted: share of trials with a false alarm", {"": drawn["alarms"]}, [*drawn["alarms"]]),
        table(f"Real photographs. {VISDIFF}", real, ["pairs", "rank 1", "first 5", "found 1", "found 5", "chance 5"]),
        table("Vectors made by lot", {"": million}, [*million]),
    ]
    figures = {"drawn": drawn, "real": real, "visdiff_published": VISDIFF, "million": million}
    return Measured(figures, tables, [*bars, bar])


class Pool:
    """A collection of n images in memory, of which trials choose."""

    def __init__(self, rows: Rows, embed: Callable[[Sequence[str]], Rows], free_text: bool = True) -> None:
        self.ids = np.array(sorted(str(uuid.uuid5(uuid.NAMESPACE_URL, str(each))) for each in range(len(rows))))
        self.rows = rows
        known = VectorStatistics(rows.shape[1])
        known.add(self.ids.tolist(), rows)
        store = open_store(":memory:", "pool")
        store.create(CollectionSpec.of({CLIP: rows.shape[1]}, {}))
        store.upsert(Points(self.ids.tolist(), [{"path": each} for each in self.ids], {CLIP: rows}))
        self.searcher = Searcher(store, Known(known), Texts(embed, free_text), lambda path: rows[0])

    def compare(self, a: Places, b: Places, asked: Asked) -> Shift:
        return diagnose(_Picked.of(self, a), _Picked.of(self, b), asked)


@dataclass(frozen=True, slots=True, eq=False)
class _Picked(Chosen):
    """Images of a pool, by their places."""

    points: Points | None = None

    @classmethod
    def of(cls, pool: Pool, places: Places) -> _Picked:
        places = np.sort(places)
        return cls(
            pool.searcher, None, "picked", points=Points(pool.ids[places].tolist(), [], {CLIP: pool.rows[places]})
        )

    def read(self, field: str | None) -> Iterator[Points]:
        assert self.points is not None
        yield self.points


def _drawn(quick: bool) -> tuple[dict[str, Any], list[Bar]]:
    count, pairs, a_side = (240, 200, 30) if quick else (2000, 2000, 150)
    trials, empty = (3, 4) if quick else (100, 400)
    scenes = list(draw(POOL_SEED, count))
    pool = _embedded(scenes, list(draw(FIT_SEED, pairs)))
    truths = _truths(scenes)
    rng = np.random.default_rng(TRIAL_SEED)
    named: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    own = tuple(right[0] for _, _, right in truths.values())
    for trial in range(trials):
        kind, has, right = truths[list(truths)[7 * trial % len(truths)]]
        a, b = _plant(has, a_side, rng)
        shift = pool.compare(a, b, Asked(concept_vocabulary("mini"), permutations=19))
        short = pool.compare(a, b, Asked(own, permutations=19))
        by_difference = max(shift.words, key=lambda word: word.difference)
        by_p = min(shift.words, key=lambda word: word.p)
        attribute = right[0].removesuffix(" object").split()[-1]
        for row, found, exact in (
            ("by g, attributes only, the very word", short.words[0].word, True),
            ("by g, all 158 words, names it", shift.words[0].word, False),
            ("first finding, all 158 words, names it", shift.a.findings[0].word.word, False),
            ("first finding, all 158 words, the very word", shift.a.findings[0].word.word, True),
            ("control: by difference of cosines, names it", by_difference.word, False),
            ("control: by p alone (as published), names it", by_p.word, False),
        ):
            hit = found in right or (not exact and attribute in found.split())
            named[row][kind].append(hit)
            named[row]["all"].append(hit)
    planted = {row: {kind: float(np.mean(hits)) for kind, hits in kinds.items()} for row, kinds in named.items()}
    alarms: dict[str, list[bool]] = defaultdict(list)
    for _ in range(empty):
        a, b = np.split(rng.permutation(count)[: 2 * a_side], 2)
        shift = pool.compare(a, b, Asked(concept_vocabulary("mini"), permutations=199))
        alarms["max-T"].append(min(word.max_t_p for word in shift.words) <= SURE)
        alarms["Benjamini-Hochberg"].append(min(word.q for word in shift.words) <= SURE)
        alarms["energy test"].append(shift.any.p <= SURE)
        alarms["control: p alone"].append(min(word.p for word in shift.words) <= SURE)
    bound = float(stats.binom.ppf(0.95, empty, SURE) / empty)
    shares = {name: float(np.mean(each)) for name, each in alarms.items()}
    bars = [Bar(f"shift, drawn: {row}", planted[row]["all"], 0.95) for row in JUDGED]
    tests = ("max-T", "Benjamini-Hochberg", "energy test")
    bars += [Bar(f"shift, nothing planted: false alarms by {name}", shares[name], bound, most=True) for name in tests]
    return {"planted": planted, "alarms": {**shares, "binomial bound": bound}, "trials": trials, "empty": empty}, bars


def _embedded(scenes: Sequence[Scene], fitting: Sequence[Scene]) -> Pool:
    clip, backbone = registry.load("mini"), registry.load_image_encoder("mini:cnn")
    assert isinstance(clip, DualEncoder)
    known, features = rows_of([clip, backbone], fitting)
    ids = [f"{scene.seed}-{scene.index}" for scene in fitting]
    recipe = FitRecipe(concepts=clip.encode_texts(concept_vocabulary(clip.id)))
    aligner, _ = fit_aligner(
        [(ids, features, known)], backbone=encoder_ref(backbone), clip=encoder_ref(clip), recipe=recipe
    )
    rows = aligner(rows_of([backbone], scenes)[0]).cpu().numpy()
    return Pool(rows, lambda texts: clip.encode_texts(list(texts)).cpu().numpy())


def _truths(scenes: Sequence[Scene]) -> dict[str, tuple[str, NDArray[np.bool_], list[str]]]:
    """Of each attribute its kind, which scenes have it, and its words as the model's vocabulary says them."""
    truths = {}
    for name in words.SHAPES:
        has = [any(thing.shape == name for thing in scene.truth.things) for scene in scenes]
        truths[name] = ("shape", np.array(has), [with_article(name)])
    for name in words.COLOURS:
        has = [any(thing.colour == name for thing in scene.truth.things) for scene in scenes]
        truths[name] = ("colour", np.array(has), [f"{with_article(name)} object"])
    for name, said in words.BACKGROUNDS.items():
        truths[name] = ("background", np.array([scene.truth.background == name for scene in scenes]), list(said))
    return truths


def _plant(has: NDArray[np.bool_], a_side: int, rng: np.random.Generator) -> tuple[Places, Places]:
    """Choose two sides that share no scene, of which so many have it."""
    a, b = round(PLANTED * a_side), round(OTHERS * a_side)
    yes, no = rng.permutation(np.flatnonzero(has)), rng.permutation(np.flatnonzero(~has))
    return (
        np.concatenate([yes[:a], no[: a_side - a]]),
        np.concatenate([yes[a : a + b], no[a_side - a : 2 * a_side - a - b]]),
    )


def _real() -> dict[str, dict[str, Any]]:
    """Rank of the word that captions say of one side's photos: of real CLIP vectors, and of photos as users get them."""
    folder = real_data()
    if folder is None:
        return {"no real photographs: set T2C_REAL_DATA": {}}
    captions: dict[str, list[str]] = defaultdict(list)
    with (folder / "photos" / "captions.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            captions[row["image"]].append(row["caption"])
    vit = folder / "clip_vit_b32"
    names = (vit / "image_names.txt").read_text().splitlines()
    texts = (vit / "concept_names.txt").read_text().splitlines()
    concepts = np.load(vit / "concept_embeddings.npy").astype(np.float32)
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    rows = np.load(vit / "image_embeddings.npy").astype(np.float32)
    pool = Pool(rows, lambda asked: concepts[[texts.index(each) for each in asked]], free_text=False)
    found = {"CLIP ViT-B/32, 684 photos, 1,203 LVIS names": _ranked(pool, names, captions, texts)}
    photos = load_photos()
    pool = Pool(photos.rows, photos.embed_texts)
    found["MobileNetV1 aligned to flickr-mini, 742 test photos, general list"] = _ranked(
        pool, photos.names, captions, listed("everyday").names
    )
    true = _own_rows(photos.clip, photos.names, folder / "photos" / "images")
    found["flickr-mini's own vectors, 742 test photos, general list"] = _ranked(
        Pool(true, photos.embed_texts), photos.names, captions, listed("everyday").names
    )
    return found


def _own_rows(clip: DualEncoder, names: Sequence[str], images: Path) -> Rows:
    rows = []
    for name in names:
        picture = clip.prepare(decode_file(images / name, decode_size=clip.decode_size))
        rows.append(clip.encode_images(picture[None]).cpu())
    return torch.nn.functional.normalize(torch.cat(rows), dim=1).numpy()


def _ranked(
    pool: Pool, names: Sequence[str], captions: Mapping[str, Sequence[str]], vocabulary: Sequence[str]
) -> dict[str, Any]:
    """Compare the photos of which captions say a word with as many others, for the words they say most."""
    said = [set(re.findall("[a-z]+", " ".join(captions.get(name, [])).lower())) for name in names]
    plain = {re.sub("^(a|an|the) ", "", each.lower().replace("_", " ")) for each in vocabulary}
    shown = {}
    for word in sorted(each for each in plain if each.isalpha()):
        has = np.array([bool(_forms(word) & spoken) for spoken in said])
        if LEAST_SAID <= has.sum() <= len(has) / 2:
            shown[word] = has
    chosen = sorted(shown, key=lambda word: (-shown[word].sum(), word))[:REAL_PAIRS]
    rng = np.random.default_rng(TRIAL_SEED)
    ranks, findings, chance = [], [], []
    for word in chosen:
        a = np.flatnonzero(shown[word])
        b = rng.permutation(np.flatnonzero(~shown[word]))[: max(len(a), FEW)]
        shift = pool.compare(a, b, Asked(vocabulary, permutations=19))
        right = [_names(each.word, word) for each in shift.words]
        ranks.append(right.index(True) + 1)
        groups = [(found.word.word, *found.like) for found in shift.a.findings]
        findings.append(
            next((at for at, group in enumerate(groups, 1) if any(_names(each, word) for each in group)), 99)
        )
        chance.append(1 - (1 - np.mean(right)) ** 5)
    return {
        "pairs": len(chosen),
        "rank 1": float(np.mean(np.array(ranks) == 1)),
        "first 5": float(np.mean(np.array(ranks) <= 5)),
        "found 1": float(np.mean(np.array(findings) == 1)),
        "found 5": float(np.mean(np.array(findings) <= 5)),
        "chance 5": float(np.mean(chance)),
        "words": chosen,
    }


def _forms(word: str) -> set[str]:
    return {word, f"{word}s", f"{word}es"}


def _names(phrase: str, word: str) -> bool:
    return bool(_forms(word) & set(re.findall("[a-z]+", phrase.lower())))


def _million(count: int, vocabulary: int) -> tuple[dict[str, Any], Bar]:
    """Compare two sides of vectors made by lot, which come as a stream, beside a plain pass for means and t."""
    dim, block = 256, 1000
    rng = np.random.default_rng(TRIAL_SEED)
    directions = _unit(rng.normal(size=(vocabulary, dim)))
    blocks = [_unit(rng.normal(size=(block, dim)) + 0.3 * directions[0] * side) for side in (1, 0) for _ in range(16)]
    pool = Pool(np.concatenate(blocks[::8]), lambda texts: directions[[int(text) for text in texts]], free_text=False)
    asked = Asked([str(each) for each in range(vocabulary)], permutations=199)

    def compare(each_side: int) -> Shift:
        a, b = (
            _Stream(pool.searcher, None, "made", blocks=blocks[16 * side : 16 * side + 16], count=each_side, side=side)
            for side in (0, 1)
        )
        return diagnose(a, b, asked)

    peaks = []
    for images in (count // 10, count // 2):
        tracemalloc.start()
        shift = compare(images)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    start = time.process_time()
    shift = compare(count // 2)
    seconds = time.process_time() - start
    start = time.process_time()
    for number in range(count // block):
        scores = blocks[number % 32] @ directions.T
        _ = scores.sum(0), np.einsum("nm,nm->m", scores, scores)
    plain = time.process_time() - start
    figures = {
        "vectors": count,
        "words": vocabulary,
        "images/s, all of it": round(count / seconds),
        "images/s, plain pass": round(count / plain),
        "peak MiB, a fifth": round(peaks[0], 1),
        "peak MiB, all": round(peaks[1], 1),
        "AUROC error at most": max(word.auroc_error for word in shift.words),
        "planted is first": shift.words[0].word == "0",
    }
    return figures, Bar("shift, memory of all vectors over that of a fifth", peaks[1] / peaks[0], 1.05, most=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Stream(Chosen):
    """Images that come without end to speak of, block after block, under ids in order."""

    blocks: Sequence[Rows] = ()
    count: int = 0
    side: int = 0

    def read(self, field: str | None) -> Iterator[Points]:
        size = len(self.blocks[0])
        for number in range(self.count // size):
            first = 2 * number * size + self.side
            ids = [str(uuid.UUID(int=first + 2 * each)) for each in range(size)]
            yield Points(ids, [], {CLIP: self.blocks[number % len(self.blocks)]})


def _unit(rows: NDArray[np.float64]) -> Rows:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
