"""Audit of real photographs with planted faults: captions exchanged, labels wrong, pictures in both splits.

Every ranking is judged by average precision, ours beside plain cosine, CLIP neighbours and, for labels, cleanlab's quality
scores of cross-validated probabilities on the same features. The faults are planted anew in each trial.
"""

from __future__ import annotations

import csv
import io
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanlab.rank import get_label_quality_scores
from PIL import Image
from sklearn.metrics import average_precision_score
from torch import Tensor

from benchmarks._common import Bar, table
from benchmarks._parts import Measured, real_data
from t2c_search.alignment.fit import FitRecipe, fit_aligner
from t2c_search.concepts.audit.captions import score_captions
from t2c_search.concepts.audit.leaks import find_leaks
from t2c_search.concepts.audit.neighbours import find_neighbours
from t2c_search.concepts.audit.reading import Chosen, read_all
from t2c_search.concepts.audit.run import audit
from t2c_search.concepts.audit.values import Witnesses
from t2c_search.decoding.decode import decode, decode_file
from t2c_search.decoding.look import look
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import ImageEncoder
from t2c_search.query.execution.searcher import Known, Searcher
from t2c_search.query.planning.texts import Texts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import CLIP, NATIVE, EncoderRef, Fingerprint, Points

LVIS = {
    "airplane": ["airplane"], "automobile": ["car (automobile)"], "bird": ["bird"], "cat": ["cat"], "deer": ["deer"],
    "dog": ["dog"], "frog": ["frog"], "horse": ["horse"], "ship": ["cargo ship", "cruise ship", "passenger ship"],
    "truck": ["truck"],
}  # fmt: skip
"""CIFAR-10's classes in the words of the precomputed vocabulary."""
WRONG, COPIES, BATCH, NEAREST = 0.05, 50, 64, 20


def measure(quick: bool) -> Measured:
    real = real_data()
    if real is None:
        return Measured({"audit": "the folder of real photographs was not found"}, [], [])
    trials = 1 if quick else 5
    photos, captions = _photos(real, 60 if quick else None)
    mini = registry.load(f"open_clip:local-dir:{real}/open_clip/flickr-mini")
    files = [real / "photos" / "images" / name for name in photos]
    rows = _unit(_embed(mini, [decode_file(file) for file in files]).numpy())
    texts = dict(zip(captions["text"], _texts(mini, captions["text"]), strict=True))
    found = {
        "captions of a photograph exchanged": _mean(
            trials, lambda seed: _exchanged(photos, rows, captions, texts, seed)
        ),
        "single captions exchanged": _mean(trials, lambda seed: _strayed(photos, rows, captions, texts, seed)),
    }
    leaks = _mean(trials, lambda seed: _leaks(files, rows, mini, seed, 10 if quick else COPIES))
    labels = _labels(real, *((1, 10, 60) if quick else (3, 200, None)))
    labelled = ("plain cosine", "CLIP neighbours", "cleanlab", "cleanlab, margin")
    captioned = labelled[:2]
    tables = [
        table("Captions, average precision", found, (*captioned, "t2c audit")),
        table("Labels, average precision", labels, (*labelled, "t2c audit", "found", "right")),
        table("Photographs in both splits, cropped by 5 %, saved again", {"": leaks}, tuple(leaks)),
    ]
    bars = [
        Bar(f"{name}: t2c audit less the best of the others", row["t2c audit"] - max(row[each] for each in others), 0.0)
        for rows_of, others in ((found, captioned), (labels, labelled))
        for name, row in rows_of.items()
    ]
    bars += [Bar("leakage: recall", leaks["recall"], 0.98), Bar("leakage: precision", leaks["precision"], 0.9)]
    return Measured({"captions": found, "labels": labels, "leakage": leaks}, tables, bars)


def _mean(trials: int, trial: Callable[[int], Mapping[str, float]]) -> dict[str, float]:
    found = [trial(seed) for seed in range(trials)]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def _photos(real: Path, most: int | None) -> tuple[list[str], dict[str, list[str]]]:
    """Return the test photographs, and their captions with the photograph of each."""
    of: dict[str, list[str]] = defaultdict(list)
    with (real / "photos" / "captions.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["split"] == "test":
                of[row["image"]].append(row["caption"])
    names = sorted(of)[:most]
    pairs = [(text, name) for name in names for text in of[name]]
    return names, {"text": [text for text, _ in pairs], "of": [name for _, name in pairs]}


def _exchanged(photos, rows, captions, texts, seed) -> dict[str, float]:
    """All captions of some photographs are another's."""
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(photos), max(2, round(WRONG * len(photos))), replace=False)
    source = np.arange(len(photos))
    source[wrong] = np.roll(wrong, 1)
    of = _grouped(photos, captions)
    told = [of[at] for at in source]
    scores = score_captions(_captioned(rows, told, texts))
    bad = np.isin(np.arange(len(photos)), wrong)
    fit = dict(zip(scores.ids, scores.fit, strict=True))
    cosine = np.array([np.mean([texts[text] @ rows[at] for text in told[at]]) for at in range(len(photos))])
    neighbours = _by_neighbours(rows, np.array([np.mean([texts[text] for text in each], axis=0) for each in told]))
    ours = np.array([fit[_id(at)] for at in range(len(photos))])
    return _precisions(bad, cosine, neighbours, ours)


def _strayed(photos, rows, captions, texts, seed) -> dict[str, float]:
    """Single captions are another photograph's."""
    rng = np.random.default_rng(seed)
    of = _grouped(photos, captions)
    slots = [(at, which) for at, each in enumerate(of) for which in range(len(each))]
    wrong = rng.choice(len(slots), max(2, round(WRONG * len(slots))), replace=False)
    told = [list(each) for each in of]
    for to, source in zip(wrong, np.roll(wrong, 1), strict=True):
        told[slots[to][0]][slots[to][1]] = of[slots[source][0]][slots[source][1]]
    scores = score_captions(_captioned(rows, told, texts))
    ours = {(point_id, text): picture + others for (point_id, text, picture, others) in scores.strays()}
    bad = np.isin(np.arange(len(slots)), wrong)
    flat = [(at, told[at][which]) for at, which in slots]
    vectors = np.array([texts[text] for _, text in flat])
    cosine = np.einsum("nd,nd->n", vectors, rows[[at for at, _ in flat]])
    means = np.array([np.mean([texts[text] for text in each], axis=0) for each in told])
    neighbours = _by_neighbours(rows, means, vectors, [at for at, _ in flat])
    return _precisions(bad, cosine, neighbours, np.array([ours[_id(at), text] for at, text in flat]))


def _grouped(photos, captions) -> list[list[str]]:
    of = defaultdict(list)
    for text, name in zip(captions["text"], captions["of"], strict=True):
        of[name].append(text)
    return [of[name] for name in photos]


def _by_neighbours(rows, told, captions=None, of=None) -> np.ndarray:
    """Mean cosine of captions with those of the pictures' nearest pictures."""
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    near = np.argsort(-cosines, axis=1)[:, : min(NEAREST, len(rows) - 1)]
    around = _unit(_unit(told)[near].mean(axis=1))
    captions, of = (told, np.arange(len(rows))) if captions is None else (captions, np.array(of))
    return np.einsum("nd,nd->n", around[of], _unit(captions))


def _precisions(bad, cosine, neighbours, ours) -> dict[str, float]:
    ranked = {"plain cosine": cosine, "CLIP neighbours": neighbours, "t2c audit": ours}
    return {name: float(average_precision_score(bad, -scores)) for name, scores in ranked.items()}


def _captioned(rows: np.ndarray, told: Sequence[Sequence[str]], texts: Mapping[str, np.ndarray]) -> Chosen:
    payloads = [{"path": f"{at}.jpg", "captions": list(each)} for at, each in enumerate(told)]
    return _chosen({CLIP: rows}, payloads, lambda asked: np.array([texts[text] for text in asked]))


def _chosen(
    vectors: Mapping[str, np.ndarray], payloads: list[dict[str, Any]], embed: Any, field: str | None = None
) -> Chosen:
    """Put rows into a store in memory, as a collection's are."""
    store = open_store(":memory:", f"audit-{uuid.uuid4().hex}")
    store.create(CollectionSpec.of({name: rows.shape[1] for name, rows in vectors.items()}, {}))
    ids = [_id(at) for at in range(len(payloads))]
    store.upsert(Points(ids, payloads, dict(vectors)))
    statistics = VectorStatistics(vectors[CLIP].shape[1])
    statistics.add(ids, vectors[CLIP])
    return Chosen(Searcher(store, Known(statistics), Texts(embed, False), lambda path: vectors[CLIP][0]), None, field)


def _leaks(files: Sequence[Path], rows: np.ndarray, mini: ImageEncoder, seed: int, copies: int) -> dict[str, float]:
    """Some pictures of one split are in the other too: a window of 95 % of either side, saved at a quality of 75."""
    rng = np.random.default_rng(seed)
    twice = rng.choice(len(files), copies, replace=False)
    cropped = [_crop(files[at], rng) for at in twice]
    vectors = np.concatenate([rows, _unit(_embed(mini, cropped).numpy())])
    split = np.concatenate([rng.integers(0, 2, len(files)), np.zeros(copies, int)])
    split[twice] = 1
    pictures = [*(decode_file(file) for file in files), *cropped]
    payloads = [
        {"path": str(at), "split": ("train", "test")[split[at]], "look": look(picture)}
        for at, picture in enumerate(pictures)
    ]
    chosen = _chosen({CLIP: vectors}, payloads, lambda asked: rows[: len(asked)], "split")
    known = read_all(chosen)
    found = find_leaks(known, find_neighbours(chosen, known))
    planted = {frozenset((_id(at), _id(len(files) + copy))) for copy, at in enumerate(twice)}
    right = [frozenset((each.id, each.other)) in planted for each in found]
    cosines = np.where(split[:, None] != split[None, :], vectors @ vectors.T, -1)
    pairs = np.triu(np.ones_like(cosines, dtype=bool), 1)
    true = np.sort([cosines[at, len(files) + copy] for copy, at in enumerate(twice)])
    least = true[copies - max(1, sum(right))]
    return {
        "recall": sum(right) / copies,
        "precision": sum(right) / max(1, len(right)),
        "cosine alone, precision at that recall": float((true >= least).sum() / (cosines[pairs] >= least).sum()),
    }


def _crop(file: Path, rng: np.random.Generator) -> Image.Image:
    picture = decode_file(file)
    width, height = round(0.95 * picture.width), round(0.95 * picture.height)
    left, top = rng.integers(0, picture.width - width + 1), rng.integers(0, picture.height - height + 1)
    content = io.BytesIO()
    picture.crop((left, top, left + width, top + height)).save(content, "JPEG", quality=75)
    return decode(content.getvalue(), None).pixels


def _labels(real: Path, trials: int, each: int, most: int | None) -> dict[str, dict[str, float]]:
    """A twentieth of CIFAR-10's labels are another class's; MobileNetV2, native and aligned to ViT-B/32 on the real pairs."""
    files = [file for name in LVIS for file in sorted((real / "cifar10" / "test" / name).iterdir())[:each]]
    truth = np.array([list(LVIS).index(file.parent.name) for file in files])
    vit = registry.load(f"precomputed:{real}/clip_vit_b32")
    listed = (real / "clip_vit_b32" / "image_names.txt").read_text().split()[:most]
    pairs = [real / "photos" / "images" / name for name in listed]
    targets = torch.stack([vit.look_up(str(file)) for file in pairs])
    names = _unit(np.array([_texts(vit, words).mean(axis=0) for words in LVIS.values()]))
    found: dict[str, dict[str, float]] = {}
    for backbone in ("mobilenetv1_100",) if most else ("mobilenetv1_100", "mobilenetv2_100"):
        encoder = registry.load_image_encoder(f"timm:local-dir:{real}/timm/{backbone}")
        features = _embed(encoder, [decode_file(file) for file in files])
        aligned = _align(_embed(encoder, [decode_file(file) for file in pairs]), targets, features, vit)
        kinds = {"aligned": {CLIP: aligned}}
        if most is None:
            kinds["native"] = {CLIP: aligned, NATIVE: features.numpy()}
        for kind, vectors in kinds.items():
            found[f"{backbone}, {kind}"] = _mean(trials, lambda seed, v=vectors: _mislabelled(v, truth, names, seed))
    return found


def _align(x: Tensor, y: Tensor, images: Tensor, vit: Any) -> np.ndarray:
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"pair {at}")) for at in range(len(x))]
    refs = [EncoderRef("benchmark", rows.shape[1], Fingerprint("", "")) for rows in (x, y)]
    concepts = vit.encode_texts(vit.vocabulary)
    aligner, _ = fit_aligner([(ids, x, y)], backbone=refs[0], clip=refs[1], recipe=FitRecipe(concepts=concepts))
    return aligner(images).numpy()


def _mislabelled(
    vectors: Mapping[str, np.ndarray], truth: np.ndarray, names: np.ndarray, seed: int
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(truth), round(WRONG * len(truth)), replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + rng.integers(1, len(LVIS), len(wrong))) % len(LVIS)
    bad = labels != truth
    known_names = list(LVIS)
    payloads = [{"path": str(at), "label": known_names[label]} for at, label in enumerate(labels)]
    chosen = _chosen(vectors, payloads, lambda asked: names[[known_names.index(text) for text in asked]], "label")
    known = read_all(chosen)
    witnesses = Witnesses(chosen, known, find_neighbours(chosen, known))
    witnesses.fit()
    judged, _ = witnesses.judge()
    at = np.array([int(payload["path"]) for points in chosen.read((), ("path",)) for payload in points.payloads])
    own = np.empty(len(truth))
    own[at[judged.places]] = judged.own
    probed = np.empty((len(truth), len(LVIS)))
    probed[at] = np.exp(witnesses.held_out)[:, [witnesses.names.index(name) for name in known_names]]
    findings = [int(each.path) for each in audit(chosen).of("value")]
    rows = vectors[CLIP]
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    near = np.argsort(-cosines, axis=1)[:, :NEAREST]
    ranked = {
        "plain cosine": np.einsum("nd,nd->n", rows, names[labels]),
        "CLIP neighbours": (labels[near] == labels[:, None]).mean(axis=1),
        "cleanlab": get_label_quality_scores(labels, probed),
        "cleanlab, margin": get_label_quality_scores(labels, probed, method="normalized_margin"),
        "t2c audit": own,
    }
    precisions = {name: float(average_precision_score(bad, -scores)) for name, scores in ranked.items()}
    return {**precisions, "found": float(len(findings)), "right": float(bad[findings].sum())}


def _texts(encoder: Any, texts: Sequence[str]) -> np.ndarray:
    return torch.cat([encoder.encode_texts(texts[at : at + 128]) for at in range(0, len(texts), 128)]).cpu().numpy()


def _embed(encoder: Any, pictures: Sequence[Image.Image]) -> Tensor:
    batches = [pictures[at : at + BATCH] for at in range(0, len(pictures), BATCH)]
    return torch.cat([encoder.encode_images(torch.stack(list(map(encoder.prepare, batch)))).cpu() for batch in batches])


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def _id(at: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"image {at}"))
