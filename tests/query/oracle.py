"""Brute force: every constraint tree over every vector, in double precision, by the definitions and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2c_search.query.language.concepts import Concept, Contrast, Difference, Image, Like, Phrase, Saved, Sum
from t2c_search.query.language.constraints import And, Not, Or, Threshold
from t2c_search.query.planning.calibration import DEFAULT_SD
from t2c_search.query.planning.ranking import SOFT_THRESHOLD
from t2c_search.query.planning.texts import JOINERS, PROMPTS
from t2c_search.testing.filters import matches

Vector = NDArray[np.float64]


class Oracle:
    """A collection in plain arrays: ids, payloads, unit rows (n, d); saved concepts are (direction, threshold)."""

    def __init__(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        rows: NDArray[np.float32],
        sample: NDArray[np.float32],
        planning_rows: int,
        embed_texts: Callable[[Sequence[str]], NDArray[np.float32]],
        embed_image: Callable[[str], NDArray[np.float32]],
        saved: Mapping[str, tuple[Vector, float | None]],
        free_text: bool = True,
    ) -> None:
        self.free_text = free_text
        self._matching: dict[Any, NDArray[np.bool_]] = {}
        self._cosines: dict[bytes, Vector] = {}
        self.ids, self.payloads, self.rows = list(ids), list(payloads), rows.astype(np.float64)
        self.sample = sample.astype(np.float64)
        self.planning_rows = planning_rows
        self.embed_texts, self.embed_image, self.saved = embed_texts, embed_image, saved
        self.mean = self.rows.mean(axis=0)
        self.covariance = (self.rows - self.mean).T @ (self.rows - self.mean) / len(self.rows)

    # Sets

    def members(self, tree) -> set[str]:
        """Ids of the images that match, as in ``mine``: by recursion over the tree, with no normal form."""
        return {point for point, inside in zip(self.ids, self.truth(tree), strict=True) if inside}

    def truth(self, tree) -> NDArray[np.bool_]:
        if isinstance(tree, And):
            return np.logical_and.reduce([self.truth(part) for part in tree.parts])
        if isinstance(tree, Or):
            return np.logical_or.reduce([self.truth(part) for part in tree.parts])
        if isinstance(tree, Not):
            return ~self.truth(tree.part)
        if isinstance(tree, Threshold | Concept):
            return self.reaches(tree)
        return self.matching(tree)

    def matching(self, condition) -> NDArray[np.bool_]:
        if condition not in self._matching:
            self._matching[condition] = np.array([matches(condition, payload) for payload in self.payloads], bool)
        return self._matching[condition]

    def reaches(self, literal) -> NDArray[np.bool_]:
        direction = self.direction(literal.concept if isinstance(literal, Threshold) else literal)
        cosine, z = self.cosine(direction), self.z(direction)
        if not isinstance(literal, Threshold):
            taught = self.saved[literal.name][1] if isinstance(literal, Saved) else None
            return z >= (DEFAULT_SD if taught is None else taught)
        if literal.unit == "top":
            return cosine >= self.reached_by(Decimal(str(literal.value)), self.dot(self.sample, direction))
        values = z if literal.unit == "sd" else cosine
        return values > literal.value if literal.strict else values >= literal.value

    def reached_by(self, percent: Decimal, sampled: Vector) -> float:
        """The cosine that such a part of the collection reaches, as docs/query.md tells it."""
        if percent == 100:
            return -np.inf
        best_first = sorted(sampled.tolist(), reverse=True)
        shares = [Decimal(100) * (at + 1) / len(best_first) for at in range(len(best_first))]  # in percent
        if len(best_first) == len(self.rows):
            return next(value for value, share in zip(best_first, shares, strict=True) if share >= percent)
        assert percent >= shares[0], "beyond the best of the sample, tests/query/test_calibration.py judges"
        at = max(at for at, share in enumerate(shares) if share <= percent)
        part = float((percent - shares[at]) / (shares[at + 1] - shares[at]))
        return best_first[at] + part * (best_first[at + 1] - best_first[at])

    # Ranking

    def ranking(self, tree, where=None) -> list[tuple[str, float]]:
        """All images that ``search`` may return, best first, with their scores."""
        best = np.full(len(self.ids), -np.inf)
        for literals, conditions in self.alternatives(tree, True):
            passed = np.ones(len(self.ids), bool)
            for condition, wanted in [*conditions, *([(where, True)] if where else [])]:
                passed &= self.matching(condition) == wanted
            for literal, wanted in literals:
                if isinstance(literal, Threshold):
                    passed &= self.reaches(literal) == wanted
            best = np.maximum(best, np.where(passed, self.scores(literals), -np.inf))
        order = sorted(np.flatnonzero(best > -np.inf), key=lambda at: (-best[at], self.ids[at]))
        return [(self.ids[at], best[at]) for at in order]

    def alternatives(self, tree, wanted):
        """Disjunctive normal form: pairs of literals and payload conditions, each with whether it is wanted."""
        if isinstance(tree, Not):
            return self.alternatives(tree.part, not wanted)
        if isinstance(tree, And | Or):
            parts = [self.alternatives(part, wanted) for part in tree.parts]
            if isinstance(tree, Or) == wanted:
                return [alternative for part in parts for alternative in part]
            combined = product(*parts)
            return [tuple([atom for part in chosen for atom in part[kind]] for kind in (0, 1)) for chosen in combined]
        if isinstance(tree, Threshold | Concept):
            return [([(tree, wanted)], [])]
        return [([], [(tree, wanted)])]

    def scores(self, literals) -> Vector:
        """The documented score: wanted texts as one sentence, log-sigmoids of the rest, in sd over the sample."""
        concept = {True: {}, False: {}}
        for literal, wanted in literals:
            of = literal.concept if isinstance(literal, Threshold) else literal
            concept[wanted][repr(of)] = of
        texts = [c.text for c in concept[True].values() if isinstance(c, Phrase) and self.free_text]
        wanted = [c for c in concept[True].values() if len(texts) < 2 or not isinstance(c, Phrase)]
        directions = [(self.direction(c), weight(c)) for c in wanted]
        directions += [(self.joint(texts), 1.0)] if len(texts) > 1 else []
        unwanted = [(self.direction(c), weight(c)) for c in concept[False].values()]
        if len(directions) == 1 and not unwanted:
            return self.z(directions[0][0])
        if not directions and not unwanted:
            return np.zeros(len(self.ids))

        def total(rows):
            terms = [w * (self.z(t, rows) if len(directions) == 1 else bent(self.z(t, rows))) for t, w in directions]
            terms += [w * log_sigmoid(SOFT_THRESHOLD - self.z(t, rows)) for t, w in unwanted]
            return np.sum(terms, axis=0)

        planned = total(self.sample[: self.planning_rows])
        return (total(None) - planned.mean()) / planned.std()

    # Directions

    def direction(self, concept) -> Vector:
        if isinstance(concept, Phrase):
            prompts = PROMPTS if self.free_text else ("{}",)
            found = self.embed([prompt.format(concept.text) for prompt in prompts])
        elif isinstance(concept, Image):
            found = self.embed_image(concept.path).astype(np.float64)
        elif isinstance(concept, Like):
            found = self.rows[self.ids.index(concept.id)]
        elif isinstance(concept, Saved):
            found = self.saved[concept.name][0]
        elif isinstance(concept, Contrast):
            others = [self.direction(other) for other in concept.alternatives]
            found = self.direction(concept.concept) - sum(others) / len(others)
        elif isinstance(concept, Difference):
            found = self.direction(concept.concept) - self.direction(concept.over)
        else:
            assert isinstance(concept, Sum)
            directions = [(term.weight, self.direction(term.concept)) for term in concept.terms]
            found = sum(w * t / np.sqrt(t @ self.covariance @ t) for w, t in directions)
        return found / np.linalg.norm(found)

    def joint(self, texts) -> Vector:
        turned = [[*texts[start:], *texts[:start]] for start in range(len(texts))]
        return self.embed([joiner.join(words) for words in turned for joiner in JOINERS])

    def embed(self, texts) -> Vector:
        mean = self.embed_texts(texts).astype(np.float64).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def cosine(self, direction) -> Vector:
        asked = direction.tobytes()
        if asked not in self._cosines:
            self._cosines[asked] = self.dot(self.rows, direction)
        return self._cosines[asked]

    def z(self, direction, rows=None) -> Vector:
        spread = np.sqrt(direction @ self.covariance @ direction)
        cosine = self.cosine(direction) if rows is None else self.dot(rows, direction)
        return (cosine - self.mean @ direction) / spread

    def dot(self, rows, direction) -> Vector:
        return (rows * direction).sum(axis=1)  # row by row, so that equal images have equal cosines


def weight(concept) -> float:
    return abs(concept.terms[0].weight) if isinstance(concept, Sum) and len(concept.terms) == 1 else 1.0


def log_sigmoid(values: Vector) -> Vector:
    return -np.log1p(np.exp(-np.abs(values))) + np.minimum(values, 0)


def bent(z: Vector) -> Vector:
    return log_sigmoid(z - SOFT_THRESHOLD)
