"""An audit, from the images chosen to findings with their paths; and a field of them to filter by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from t2c_search.concepts.audit.captions import find_unfit_captions
from t2c_search.concepts.audit.findings import KINDS, Audit, Finding, ranked
from t2c_search.concepts.audit.leaks import find_leaks
from t2c_search.concepts.audit.neighbours import find_neighbours
from t2c_search.concepts.audit.outliers import find_outliers
from t2c_search.concepts.audit.pictures import find_plain_faults
from t2c_search.concepts.audit.reading import Chosen, Known, read_all
from t2c_search.concepts.audit.values import find_contradicted
from t2c_search.errors import T2CError
from t2c_search.filters import Exists
from t2c_search.state.derived import write_derived
from t2c_search.stores.protocol import VectorStore

_AT_ONCE = 500


def audit(chosen: Chosen) -> Audit:
    """Look for every kind of finding. Raises UsageError where there is no image, and for a field that cannot be audited."""
    known = read_all(chosen)
    notes = _notes(chosen, known)
    near = find_neighbours(chosen, known)
    found = [*find_outliers(chosen, known, near), *find_plain_faults(known)]
    if chosen.field:
        contradicted, more = find_contradicted(chosen, known, near)
        found += [*contradicted, *find_leaks(known, near)]
        notes += more
    if known.captioned:
        try:
            found += find_unfit_captions(chosen)
        except T2CError as exc:
            notes.append(f"Captions were not compared with their pictures: {exc}")
    ordered = [each for kind in KINDS for each in ranked(finding for finding in found if finding.kind == kind)]
    return Audit(len(known.ids), chosen.field, tuple(_with_paths(chosen.searcher.store, ordered)), tuple(notes))


def _notes(chosen: Chosen, known: Known) -> list[str]:
    """Say what cannot be looked for, and what would help."""
    notes = []
    if lacking := int(np.isnan(known.look).any(axis=1).sum()):
        notes.append(
            f"{lacking} of {len(known.ids)} images were indexed without figures of how they look: dark, blurred and empty ones "
            "are not told among them, and leaks less surely; --look (look=True) opens them once, and keeps the figures."
        )
    if not chosen.field:
        notes.append("No field was named: wrong values, leaks and values alike were not looked for.")
    if known.several:
        notes.append(f"{known.several} images have several values in {chosen.field}, and count as having none.")
    if not known.captioned:
        notes.append("No image has a caption.")
    return notes


def _with_paths(store: VectorStore, findings: list[Finding]) -> list[Finding]:
    """Put the paths of images to the findings, and of those that they are compared with."""
    wanted = sorted({each for finding in findings for each in (finding.id, finding.other) if each})
    paths: dict[str, str] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        points = store.fetch(wanted[start : start + _AT_ONCE])
        paths.update({i: payload.get("path", "") for i, payload in zip(points.ids, points.payloads, strict=True)})
    return [replace(each, path=paths.get(each.id, ""), other=paths.get(each.other, "")) for each in findings]


def write_kinds(store: VectorStore, found: Audit, field: str) -> None:
    """Store with each image the kinds of its findings as a derived field; what a former audit wrote there goes."""
    kinds: dict[str, list[str] | None] = {
        point_id: None for points in store.scan(where=Exists(field=field), payload=False) for point_id in points.ids
    }
    for finding in found.findings:
        told = kinds.get(finding.id) or []
        if finding.kind not in told and finding.kind != "alike":
            kinds[finding.id] = [*told, finding.kind]
    ids = sorted(kinds)
    write_derived(store, field, ids, [kinds[point_id] for point_id in ids])
