"""The collection's statistics, and the claims of those who change its vectors: how they stay true, whoever is killed.

A run *claims* the statistics before its first write and gives its claim back once its own are stored. While there is a
claim, the stored statistics are the last good ones, and not current. A run that was alone from its claim to its end kept
count of its own writes; any other counts anew from the vectors when it ends, unless another is at work still, which then
does. The last of several runs therefore always leaves the truth. A claim that a run finds when it begins may be a killed
run's: it is taken back with its own, and a run that is at work nevertheless claims anew when it goes on writing.

The claims also name the statistics that are true once nobody claims them, by digest: what a run stores that was overtaken
meanwhile is not mistaken for them.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from functools import partial

from blake3 import blake3

from t2c_search.errors import CollectionFormatError
from t2c_search.state.kept import Kept
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP


@dataclass(frozen=True, slots=True)
class Claims:
    """Who changes the vectors (``open``, claims), which claim was the ``last`` to be made or given up, and what is true.

    ``true`` is the digest of the statistics that are true when there is no claim; empty: whatever is stored, as in
    collections of the first format.
    """

    open: tuple[str, ...] = ()
    last: str = ""
    true: str = ""

    def with_claim(self, claim: str) -> Claims:
        """Return these and one more."""
        return replace(self, open=(*(other for other in self.open if other != claim), claim), last=claim)

    def without(self, claim: str, *more: str) -> Claims:
        """Return these without that claim and some more."""
        return replace(self, open=tuple(other for other in self.open if other not in (claim, *more)), last=claim)

    def vouch_for(self, statistics: str) -> bool:
        """Tell whether stored statistics, by their digest, are current."""
        return not self.open and self.true in ("", statistics)


def _digest(content: bytes) -> str:
    """Return the BLAKE3 digest of bytes in hexadecimal."""
    return blake3(content).hexdigest()


def _dump_claims(claims: Claims) -> bytes:
    return json.dumps({"open": claims.open, "last": claims.last, "true": claims.true}).encode()


def _load_claims(content: bytes) -> Claims:
    if content == b"clean":  # so did the first format write it
        return Claims()
    if content.startswith(b"dirty"):
        return Claims(open=(content.decode(),))
    try:
        told = json.loads(content)
        return Claims(tuple(told["open"]), told["last"], told["true"])
    except (ValueError, KeyError, TypeError) as exc:
        raise CollectionFormatError(
            f"the claims on the collection's statistics cannot be read ({exc}); restore them from a backup"
        ) from exc


def _dump_statistics(statistics: VectorStatistics | None) -> bytes:
    return b"" if statistics is None else statistics.to_bytes()


def _load_statistics(content: bytes) -> VectorStatistics | None:
    try:
        return VectorStatistics.from_bytes(content)
    except CollectionFormatError:
        return None


STATISTICS: Kept[VectorStatistics | None] = Kept("statistics", None, _dump_statistics, _load_statistics)
"""None also where they are damaged: they can be counted anew."""
CLAIMS: Kept[Claims] = Kept("statistics-state", Claims(), _dump_claims, _load_claims)


@dataclass(frozen=True, slots=True)
class Claim:
    """A run's claim, by its ``id``, and those that it found: of runs that were killed, or are at work beside it."""

    id: str
    found: tuple[str, ...]

    def begun_since(self, claims: Claims) -> set[str]:
        """Return the claims of runs at work that began after this one, which will find it, and count."""
        return set(claims.open) - {self.id, *self.found}

    def left_to_others(self, claims: Claims) -> Claims:
        """Return the claims without this one if another run will count; as they are otherwise."""
        return claims.without(self.id) if self.begun_since(claims) else claims

    def settled(self, claims: Claims, true: str) -> Claims:
        """Return the claims once this run has stored what is true; as they are, if another run claimed or ended since."""
        if claims.last != self.id:
            return claims
        return replace(claims.without(self.id, *self.found), true=true)


def claim_statistics(store: VectorStore) -> tuple[VectorStatistics, Claim]:
    """Claim the statistics before the first change of vectors; return those to bring up to date, and the claim.

    They are read after the claim, so that a run which ends in between is not missed.
    """
    claim, claims = _claim(store)
    statistics = None
    if not claim.found:  # otherwise they are counted anew in the end
        statistics = _true_statistics(store, claims.without(claim.id)) or count_statistics(store)
    return statistics or VectorStatistics(store.spec().dims[CLIP]), claim


def renew_claim(store: VectorStore, claim: Claim) -> Claim:
    """Return the claim of a run that goes on: a new one where another run took it back, as if this one had been killed."""
    if claim.id in CLAIMS.now(store).open:
        return claim
    renewed, _ = _claim(store)
    return replace(renewed, found=(claim.id, *renewed.found))  # not alone since its claim, whoever is at work now


def save_statistics(store: VectorStore, statistics: VectorStatistics, claim: Claim) -> None:
    """Store the statistics after the last change of vectors, and give the claim back.

    They are counted anew where another run wrote since the claim, or may have; by the last one of those at work.
    """
    store.flush()
    while not claim.begun_since(claims := CLAIMS.update(store, claim.left_to_others)):
        if claim.found or claims.last != claim.id:
            CLAIMS.update(store, lambda known: known.with_claim(claim.id))
            statistics = count_statistics(store) or VectorStatistics(statistics.dim)
        content = statistics.to_bytes()
        store.write_blob(STATISTICS.key, content)
        if CLAIMS.update(store, partial(claim.settled, true=_digest(content))).last == claim.id:
            return


def store_statistics(new: VectorStore, statistics: VectorStatistics) -> None:
    """Store the statistics of a replacement, whose vectors nobody else changes."""
    content = statistics.to_bytes()
    new.write_blob(STATISTICS.key, content)
    CLAIMS.write(new, Claims(true=_digest(content)))


def repair_statistics(store: VectorStore) -> None:
    """Make the stored statistics true again where a killed run left them stale."""
    if _true_statistics(store, CLAIMS.now(store)) is None and store.count():
        save_statistics(store, *claim_statistics(store))


def count_statistics(store: VectorStore) -> VectorStatistics | None:
    """Count the statistics from all vectors; None when there is none."""
    statistics: VectorStatistics | None = None
    for points in store.scan(vectors=(CLIP,), payload=False):
        vectors = points.vectors[CLIP]
        if statistics is None:
            statistics = VectorStatistics(vectors.shape[1])
        statistics.add(points.ids, vectors)
    return statistics


def _true_statistics(store: VectorStore, claims: Claims) -> VectorStatistics | None:
    """Return the stored statistics if they are current and of as many vectors as there are."""
    content = store.update_blob(STATISTICS.key, lambda stored: stored)  # as it is now, of a pinned store too
    if content is None or not claims.vouch_for(_digest(content)):
        return None
    statistics = STATISTICS.load(content)
    return statistics if statistics is not None and statistics.count == store.count() else None


def _claim(store: VectorStore) -> tuple[Claim, Claims]:
    claim = uuid.uuid4().hex
    claims = CLAIMS.update(store, lambda known: known.with_claim(claim))
    return Claim(claim, tuple(other for other in claims.open if other != claim)), claims
