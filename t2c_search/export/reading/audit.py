"""An audit to a file: the findings as lines of a CSV or JSON, or as a page with their pictures."""

from __future__ import annotations

import csv
import io
import json
from itertools import groupby
from pathlib import Path

from t2c_search.aside import file_aside
from t2c_search.concepts.audit.findings import KINDS, Audit, Finding
from t2c_search.errors import UsageError
from t2c_search.export.page import PAGES, Card, Page, Section, write_page

SUFFIXES = (".csv", ".json", *PAGES)
"""Endings of the files that an audit is written to."""
_SHOWN = 60  # of each kind on a page
_TELL = {
    "value": "is {own}, looks like {suggested}",
    "alike": "{own} and {suggested} look alike",
    "leak": "under {own}, and under {suggested}",
    "odd size": "{own}; usual is {suggested}",
}


def check_audit_file(path: Path) -> None:
    """Raise UsageError for a file that no audit can be written to, before the work."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"an audit cannot be written to {path}: expected a name that ends in .html, .csv or .json")


def write_audit(found: Audit, title: str, path: Path) -> None:
    """Write an audit by the file's ending: .html (the worst of each kind, with pictures), .csv or .json (all).

    Raises UsageError for another ending, and for a place that cannot be written.
    """
    check_audit_file(path)
    if path.suffix.lower() in PAGES:
        write_page(_page(found, title), path)
        return
    content = (
        _csv(found) if path.suffix.lower() == ".csv" else json.dumps(found.to_json(), ensure_ascii=False, indent=1)
    )
    with file_aside(path) as target:
        target.write(content.encode("utf-8", "surrogateescape"))


def tell(finding: Finding) -> str:
    """Say in a few words what is wrong."""
    if finding.kind in _TELL:
        return _TELL[finding.kind].format(own=finding.own, suggested=finding.suggested)
    return finding.own or ", ".join(f"{name} {number:g}" for name, number in finding.figures.items())


def _csv(found: Audit) -> str:
    lines = io.StringIO(newline="")
    columns = found.columns()
    table = csv.writer(lines)
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    return lines.getvalue()


def _page(found: Audit, title: str) -> Page:
    sections = []
    for kind, several in groupby(found.findings, key=lambda each: each.kind):
        findings = list(several)
        shown = "" if len(findings) <= _SHOWN else f", the worst {_SHOWN} shown"
        cards = tuple(card for finding in findings[:_SHOWN] for card in _cards(finding))
        sections.append(Section(f"{KINDS[kind]}: {len(findings)}{shown}", cards))
    first = f"{found.images} images; {len(found.findings)} findings. Nothing was changed: judge by eye."
    return Page(title, (first, *found.notes), tuple(sections))


def _cards(finding: Finding) -> list[Card]:
    """Return a finding's picture, and beside it the one that it is compared with, paler."""
    numbers = ", ".join(f"{name} {number:g}" for name, number in finding.figures.items())
    said = (f"its caption: {finding.own}", f"fits better: {finding.suggested}" if finding.suggested else "")
    captions = tuple(filter(None, said)) if "caption" in finding.kind else (tell(finding),)
    cards = [Card(finding.path, str(finding.rank), numbers, captions)]
    if finding.other:
        cards.append(Card(finding.other, f"beside {finding.rank}", "", dropped=True))
    return cards
