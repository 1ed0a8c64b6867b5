"""``t2c index`` and ``t2c fit``: make a collection, and the aligner behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from t2c_search.cli import options
from t2c_search.cli.app import app
from t2c_search.cli.options import SETTINGS
from t2c_search.cli.render import err, key_value_table, out, print_json, progress_bar

if TYPE_CHECKING:
    from t2c_search.alignment.report import FitReport
    from t2c_search.indexing.report import IndexReport

_SHOWN_FAILURES = 10
_EXIT_ALL_FAILED = 3


@app.command()
def index(
    paths: Annotated[list[Path], typer.Argument(help="Image files, and folders with all that lies below them.")],
    collection: options.CollectionName = SETTINGS.collection,
    store: options.StoreLocation = SETTINGS.store,
    clip: options.ClipId = None,
    backbone: options.BackboneId = None,
    text: options.TextId = None,
    aligner: Annotated[Path | None, typer.Option("--aligner", help="Use this aligner, made by t2c fit.")] = None,
    fit_pairs: Annotated[
        int, typer.Option("--fit-pairs", min=20, help="Images that both models look at to fit an aligner.")
    ] = SETTINGS.fit_pairs,
    captions: Annotated[
        Path | None, typer.Option("--captions", help="CSV with columns image, caption, and any others to keep.")
    ] = None,
    native: Annotated[
        bool, typer.Option("--native", help="Keep the backbone's own vectors too, to align them anew later.")
    ] = False,
    device: options.DeviceName = SETTINGS.device,
    dtype: options.DtypeName = SETTINGS.dtype,
    batch_size: options.BatchSize = SETTINGS.batch_size,
    workers: options.Workers = SETTINGS.workers,
    json: options.Json = False,
) -> None:
    """Index images, so that they can be searched.

    Run it again after adding or changing images: what is unchanged is skipped. A file that cannot be read is reported and
    stops nothing. Exit status: 0 when something is indexed, 3 when every file failed, 2 for a wrong option.

    \b
    Examples:
      t2c index ~/Pictures -c photos --store ./photos.t2c
      t2c index ~/Pictures -c photos --backbone timm:vit_small_patch14_dinov2.lvd142m --native
      t2c index images/ --captions captions.csv --clip mini --backbone mini:cnn
    """
    from t2c_search.collection import open_collection

    with (
        open_collection(
            collection, store, clip=clip, backbone=backbone, text=text, device=device, dtype=dtype
        ) as images,
        progress_bar() as progress,
    ):
        report = images.index(
            paths,
            captions=captions,
            aligner=aligner,
            fit_pairs=fit_pairs,
            keep_native=native,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
        fit = images.fit_report
    if json:
        print_json({"collection": collection, **report.to_json(), "aligner": fit and fit.to_json()})
    else:
        _show_report(report, fit, collection, store)
    if report.all_failed:
        raise typer.Exit(_EXIT_ALL_FAILED)


@app.command()
def fit(
    images: Annotated[list[Path], typer.Option("--images", help="Folder of images to fit on; may be given again.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the aligner here (safetensors).")],
    backbone: Annotated[str, typer.Option("--backbone", help="Model that looks at the images (see: t2c models).")],
    clip: Annotated[str, typer.Option("--clip", help="CLIP model, the one that understands texts.")] = SETTINGS.clip,
    pairs: Annotated[int, typer.Option("--pairs", min=20, help="Images to use at most.")] = SETTINGS.fit_pairs,
    criterion: Annotated[
        Literal["auto", "concept-fidelity", "retrieval", "r2"],
        typer.Option("--criterion", help="What the fit is chosen by; concept fidelity where the CLIP model has texts."),
    ] = "auto",
    device: options.DeviceName = SETTINGS.device,
    dtype: options.DtypeName = SETTINGS.dtype,
    batch_size: options.BatchSize = SETTINGS.batch_size,
    workers: options.Workers = SETTINGS.workers,
    json: options.Json = False,
) -> None:
    """Fit an aligner, the linear map from a backbone's space to CLIP space, for use by t2c index --aligner.

    \b
    Example:
      t2c fit --backbone timm:resnet50 --clip open_clip:ViT-B-32/laion2b_s34b_b79k --images ~/Pictures -o rn50.safetensors
    """
    from t2c_search.collection import fit as fit_on

    with progress_bar() as progress:
        aligner = fit_on(
            images,
            backbone=backbone,
            clip=clip,
            pairs=pairs,
            criterion=criterion,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
    aligner.save(output)
    report = aligner.report.to_json()
    if json:
        print_json(report)
    else:
        out.print(key_value_table(_rounded(report)))
        out.print(f"aligner written to [bold]{output}[/]; use it with: t2c index --aligner {output} ...")


def _show_report(report: IndexReport, fit: FitReport | None, collection: str, store: str) -> None:
    counts = {
        "indexed": report.indexed,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "failed": report.failed,
    }
    line = ", ".join(f"[bold]{count}[/] {name}" for name, count in counts.items() if count or name == "indexed")
    out.print(f"{line} in {report.seconds:.1f} s ({report.images_per_second:.0f} images/s)")
    if fit is not None:
        found = (
            f"{fit.centred_recall_at_1:.0%} of held-out images find their true vector first among {fit.held_out_pairs}"
        )
        out.print(f"aligned to the CLIP model on {fit.pairs} images: {found}", style="dim")
    for warning in report.warnings:
        err.print(f"[yellow]note[/] {escape(warning)}", soft_wrap=True)
    for failure in report.failures[:_SHOWN_FAILURES]:
        err.print(f"[red]failed[/] {escape(failure.path)}: {escape(failure.reason)}", soft_wrap=True)
    if len(report.failures) > _SHOWN_FAILURES:
        reasons = Counter(failure.reason for failure in report.failures[_SHOWN_FAILURES:])
        err.print(f"... and {len(report.failures) - _SHOWN_FAILURES} more; all are in --json and in t2c info")
        for reason, count in reasons.most_common(5):
            err.print(f"    {count} x {reason}")
    if not report.all_failed:
        out.print(f'search it: t2c search -c {collection} --store {store} "a dog on a beach"', style="dim")


def _rounded(report: Mapping[str, Any]) -> dict[str, object]:
    """Round the report's figures to what a person reads."""
    return {
        name.replace("_", " "): f"{value:.4g}" if isinstance(value, float) else value for name, value in report.items()
    }
