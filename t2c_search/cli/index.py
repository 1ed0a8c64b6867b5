"""``t2c index`` and ``t2c fit``: make a collection, and the aligner behind it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from t2c_search.cli import options
from t2c_search.cli.app import INDEXING, app
from t2c_search.cli.render import err, key_value_table, out, print_json, progress_bar
from t2c_search.cli.reports import retained_table, rounded, show_run
from t2c_search.ending import exit_code
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.indexing.report import IndexReport

_EXIT_ALL_FAILED = 3


@app.command(rich_help_panel=INDEXING)
def index(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, archives, parquet, COCO, CSV, JSON lines, videos, s3://...; quoted patterns; - for a list."
        ),
    ],
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    clip: options.ClipId = None,
    backbone: options.BackboneId = None,
    text: options.TextId = None,
    aligner: Annotated[Path | None, typer.Option("--aligner", help="Use this aligner, made by t2c fit.")] = None,
    fit_pairs: options.FitPairs = None,
    captions: Annotated[
        Path | None,
        typer.Option("--captions", help="Table with columns image, caption, and others to keep; or COCO annotations."),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--fields", help="Type of a field, NAME=TYPE, or a TOML file of them; may be given again."),
    ] = None,
    every: Annotated[
        float, typer.Option("--every", min=0.001, help="Seconds between the frames of a video that are indexed.")
    ] = 5.0,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Pass over what is so called: '*_thumb.jpg', 'raw/*'; may be given again."),
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Fetch what tables name from this machine's own network too."),
    ] = False,
    image_column: Annotated[
        str | None,
        typer.Option(
            "--image-column", help="Column of tables that holds or names their images; left out, it is found."
        ),
    ] = None,
    native: Annotated[
        bool, typer.Option("--native", help="Keep the backbone's own vectors too, to align them anew later.")
    ] = False,
    explainable: Annotated[
        bool,
        typer.Option(
            "--explainable", help="Keep which places gave which part of each vector, for anywhere(...) and t2c explain."
        ),
    ] = False,
    quantization: Annotated[
        Literal["none", "int8", "tq4"] | None,
        typer.Option(
            "--quantization",
            help="Hold vectors in memory whole (none), or in a quarter (int8) or an eighth (tq4) of the room; left out, "
            "by the number of images: whole up to a million.",
        ),
    ] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Also delete what is gone from the folders from the collection.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Go on watching the folders and index what changes, in this process, until Ctrl-C."
        ),
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where the time went, and which stage is the limit.")
    ] = False,
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
    compile: options.Compile = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option("--engine", help="Embed in this process, or in many of them, on Ray.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", help="Ray cluster to use, auto or host:port; this machine if left out."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Index images, so that they can be searched.

    Run it again after adding or changing images: what is unchanged is skipped. A file that cannot be read is reported and
    stops nothing (see: t2c retry). A file that was renamed keeps its vectors. Exit status: 0 when something is indexed, 3 when
    every file failed, 2 for a wrong option, 130 after Ctrl-C.

    \b
    Examples:
      t2c index ~/Pictures -c photos --store ./photos.t2c
      t2c index ~/Pictures -c photos --backbone timm:vit_small_patch14_dinov2.lvd142m --native
      t2c index images/ --captions captions.csv --clip mini --backbone mini:cnn
      t2c index 'shards-{000..012}.tar' products.parquet --fields price=float --fields sold=datetime
      t2c index ~/Pictures --sync --watch
      find . -name '*.jpg' -newer last | t2c index - clips/*.mp4 --every 2
    """
    from t2c_search.collection import open_collection
    from t2c_search.collection.watching import outlast
    from t2c_search.indexing.allocation import keep_freed_memory, sleep_while_waiting
    from t2c_search.sources.tables.field_types import parse_types

    if watch and engine == "ray":
        raise UsageError(
            "--watch embeds in this process, not on Ray: run t2c index --engine ray first, then --watch without --engine"
        )
    keep_freed_memory()
    sleep_while_waiting()
    with (
        _saying_what_is_kept(),
        open_collection(
            collection, store, clip=clip, backbone=backbone, text=text, device=device, dtype=dtype, compile=compile
        ) as images,
    ):
        if images.card is not None and text not in (None, made_with := images.card.text or images.card.clip.id):
            raise UsageError(
                f"collection {images.name!r} was made with the text tower of {made_with!r}, not {text!r}: leave --text out "
                "here, and name it when searching"
            )
        fits = images.card is None and aligner is None
        stop, tell = Event(), partial(err.print, style="dim", markup=False)
        reports = (
            images.watch(
                sources,
                captions=captions,
                exclude=exclude or (),
                sync=sync,
                batch_size=batch_size,
                workers=workers,
                stop=stop,
                tell=tell,
            )
            if watch
            else None
        )

        def index_all() -> IndexReport:
            with progress_bar() as progress:
                return images.index(
                    sources,
                    captions=captions,
                    fields=parse_types(fields or ()),
                    every=every,
                    exclude=exclude or (),
                    allow_private=allow_private,
                    image_column=image_column,
                    aligner=aligner,
                    fit_pairs=fit_pairs,
                    keep_native=native or None,
                    quantization=quantization,
                    explainable=explainable,
                    sync=sync,
                    batch_size=batch_size,
                    workers=workers,
                    engine=engine,
                    ray_address=ray_address,
                    allow_empty=watch,
                    progress=progress,
                )

        report = outlast(index_all, stop, tell, while_locked=False) if watch else index_all()
        assert report is not None  # nothing sets the event so far: Ctrl-C interrupts
        fit = images.fit_report if fits or json else None
        show_run(report, fit, images, profile=profile, json=json)
        if reports is not None:
            err.print("watching; Ctrl-C ends it", style="dim")
            with _setting_on_signals(stop) as received:
                for report_of_batch in reports:
                    show_run(report_of_batch, None, images, profile=profile, json=json)
            err.print("watch ended", style="dim")
            raise typer.Exit(128 + received[0])  # as a shell reports of a program that the signal ended
        if report.all_failed:
            raise typer.Exit(_EXIT_ALL_FAILED)


@app.command(rich_help_panel=INDEXING)
def retry(
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
    compile: options.Compile = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Index again the files that failed, which t2c info lists. Exit status: as of t2c index.

    \b
    Example:
      t2c retry -c photos --store ./photos.t2c
    """
    from t2c_search.collection import open_collection
    from t2c_search.indexing.allocation import keep_freed_memory, sleep_while_waiting

    keep_freed_memory()
    sleep_while_waiting()
    with (
        _saying_what_is_kept(),
        open_collection(collection, store, device=device, dtype=dtype, compile=compile) as images,
        progress_bar() as progress,
    ):
        report = images.retry(batch_size=batch_size, workers=workers, progress=progress)
    if report.seen or json:
        show_run(report, None, images, json=json)
    else:
        out.print("nothing failed")
    if report.all_failed:
        raise typer.Exit(_EXIT_ALL_FAILED)


@app.command(rich_help_panel=INDEXING)
def fit(
    images: Annotated[list[str], typer.Option("--images", help="Images to fit on, any source; may be given again.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the aligner here (safetensors).")],
    backbone: Annotated[str, typer.Option("--backbone", help="Model that looks at the images (see: t2c models).")],
    clip: Annotated[str | None, options.setting("clip", "--clip")] = None,
    onto: Annotated[
        str | None,
        typer.Option("--onto", help="Any other model of images, in the CLIP model's place; for t2c search --through."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Images in a folder for each class: tell how much accuracy --onto retains."),
    ] = None,
    pairs: Annotated[int | None, options.setting("fit_pairs", "--pairs", min=20)] = None,
    criterion: Annotated[
        Literal["auto", "concept-fidelity", "retrieval", "r2"],
        typer.Option("--criterion", help="What the fit is chosen by; concept fidelity where the CLIP model has texts."),
    ] = "auto",
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
    compile: options.Compile = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Fit an aligner, the linear map from a backbone's space to CLIP space, for use by t2c index --aligner.

    With --onto it is a map onto any other model's space: a collection of that one is then searched by images that the
    backbone looks at. With --labels, probes on labelled images tell what is left of the backbone's accuracy there.

    \b
    Examples:
      t2c fit --backbone timm:resnet50 --clip open_clip:ViT-B-32/laion2b_s34b_b79k --images ~/Pictures -o rn50.safetensors
      t2c fit --backbone timm:resnet50 --onto timm:vit_small_patch14_dinov2.lvd142m --images ~/Pictures -o rn50-vits.safetensors
    """
    from t2c_search.collection.carried import retained
    from t2c_search.collection.fitting import fit as fit_on
    from t2c_search.indexing.allocation import keep_freed_memory, sleep_while_waiting

    keep_freed_memory()
    sleep_while_waiting()
    if labels is not None and onto is None:
        raise UsageError("--labels tells what --onto retains: name another model with --onto, or leave --labels out")
    with progress_bar() as progress:
        aligner = fit_on(
            images,
            backbone=backbone,
            clip=clip,
            onto=onto,
            pairs=pairs,
            criterion=criterion,
            device=device,
            dtype=dtype,
            compile=compile,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
        aligner.save(output)
        left = None
        if labels is not None:
            left = retained(
                aligner,
                labels,
                backbone=backbone,
                onto=onto,
                device=device,
                dtype=dtype,
                batch_size=batch_size,
                workers=workers,
                progress=progress,
            )
    report = aligner.report.to_json()
    if json:
        print_json(report if left is None else {**report, "retained": left.to_json()})
        return
    out.print(key_value_table(rounded(report)))
    if left is not None:
        out.print(retained_table(left, aligner))
    shown = out.shown(output)
    use = "t2c index --aligner" if onto is None else "t2c search --image FILE --through"
    out.print(f"aligner written to [bold]{shown}[/]; use it with: {use} {shown} ...", soft_wrap=True)


@contextmanager
def _saying_what_is_kept() -> Iterator[None]:
    """End a run that a signal interrupts with what became of it; nothing of what was written is lost."""
    try:
        yield
    except KeyboardInterrupt as exc:
        err.print("interrupted; what is indexed is kept, and the same command goes on from there", soft_wrap=True)
        raise typer.Exit(exit_code(exc)) from None


@contextmanager
def _setting_on_signals(stop: Event) -> Iterator[list[int]]:
    """Let the first Ctrl-C or SIGTERM set an event, so that what has begun is finished; the second one interrupts.

    Yields the numbers of the signals that came.
    """
    received: list[int] = []

    def ask_to_stop(number: int, frame: object) -> None:
        received.append(number)
        stop.set()
        signal.signal(number, former[number])

    former: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in former:
        signal.signal(number, ask_to_stop)
    try:
        yield received
    finally:
        for number, action in former.items():
            signal.signal(number, action)
