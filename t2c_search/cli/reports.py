"""How the reports of runs, fits and probes are shown."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from t2c_search.cli.render import err, out, print_json
from t2c_search.errors import redact

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.alignment.report import FitReport
    from t2c_search.collection import Collection
    from t2c_search.concepts.retained import Retained
    from t2c_search.indexing.report import IndexReport
    from t2c_search.profile import Profile

_SHOWN = 10  # warnings, and failures


def show_run(
    report: IndexReport, fit: FitReport | None, images: Collection, *, profile: bool = False, json: bool
) -> None:
    """Show what came of a run, and of the aligner's fit where it made one."""
    if json:
        print_json({"collection": images.name, **report.to_json(), "aligner": fit and fit.to_json()})
        sys.stdout.flush()  # a watch's reader wants each report when it is there
        return
    _show_report(report, fit, images)
    if profile:
        _show_profile(report.profile)


def _show_profile(profile: Profile) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("stage", "threads", "seconds", "busy"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in profile.stages:
        style = "bold" if stage.name == profile.limit else None
        table.add_row(stage.name, str(stage.threads), f"{stage.seconds:.2f}", f"{stage.busy:.0%}", style=style)
    out.print(table)
    out.print(f"the limit: [bold]{profile.limit}[/]")


def _show_report(report: IndexReport, fit: FitReport | None, images: Collection) -> None:
    counts = {
        "indexed": report.indexed,
        "renamed": report.renamed,
        "copied": report.copied,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
        "failed": report.failed,
    }
    line = ", ".join(f"[bold]{count}[/] {name}" for name, count in counts.items() if count or name == "indexed")
    out.print(f"{line} in {report.seconds:.1f} s ({report.images_per_second:.0f} images/s)")
    if fit is not None:
        found = (
            f"{fit.centred_recall_at_1:.0%} of held-out images find their true vector first among {fit.held_out_pairs}"
        )
        out.print(f"aligned to the CLIP model on {fit.pairs} images: {found}", style="dim")
    _show_notes(report)
    if not report.all_failed:
        out.print(
            f"search it: t2c search -c {images.name} --store {shlex.quote(redact(images.store.location))} a dog on a beach",
            style="dim",
            markup=False,
            soft_wrap=True,
        )


def _show_notes(report: IndexReport) -> None:
    for warning in map(redact, report.warnings[:_SHOWN]):
        err.print(f"[yellow]note[/] {err.shown(warning)}", soft_wrap=True)
    if len(report.warnings) > _SHOWN:
        err.print(f"... and {len(report.warnings) - _SHOWN} more notes; all are in --json")
    for failure in [failure.redacted() for failure in report.failures[:_SHOWN]]:
        err.print(f"[red]failed[/] {err.shown(failure.path)}: {err.shown(failure.reason)}", soft_wrap=True)
    if len(report.failures) > _SHOWN:
        reasons = Counter(failure.reason for failure in report.failures[_SHOWN:])
        err.print(f"... and {len(report.failures) - _SHOWN} more; all are in --json and in t2c info")
        for reason, count in reasons.most_common(5):
            err.print(f"    {count} x {err.shown(reason)}")


def retained_table(left: Retained, aligner: Aligner) -> Table:
    """Lay out what probes tell: each model's own, and the other's on the backbone's images."""
    table = Table(
        title=f"linear probes: {left.classes} classes, trained on {left.trained_on} images, tested on {left.tested_on} others",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for name in ("probe of", "on the features of", "accuracy"):
        table.add_column(name, justify="right" if name == "accuracy" else "left", overflow="fold")
    first, other = out.shown(aligner.backbone.id), out.shown(aligner.clip.id)
    table.add_row(first, first, f"{left.own:.1%}")
    table.add_row(other, other, f"{left.of_other:.1%}")
    table.add_row(other, f"{first}, carried over", f"{left.carried:.1%}")
    table.caption = f"retained: {left.retained:.1%} of the backbone's own accuracy"
    table.caption_justify = "left"
    return table


def rounded(report: Mapping[str, Any]) -> dict[str, object]:
    """Round the report's figures to what a person reads."""
    return {
        name.replace("_", " "): f"{value:.4g}" if isinstance(value, float) else value for name, value in report.items()
    }
