"""``t2c fit-decoder``: train what says in sentences what vectors mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2c_search.cli import options
from t2c_search.cli.app import READING, app
from t2c_search.cli.render import key_value_table, out, print_json, progress_bar


@app.command("fit-decoder", rich_help_panel=READING)
def fit_decoder(
    captions: Annotated[
        Path,
        typer.Argument(
            help="Captions: a text file with one a line, or a table (CSV, JSON lines, COCO) with a column caption."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Fill this new or empty folder with the decoder.")],
    clip: Annotated[str | None, options.setting("clip", "--clip")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of the training.", show_default="1000")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another one gives another decoder.")] = 0,
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
    json: options.Json = False,
) -> None:
    """Train a decoder on captions alone, so that t2c describe says in sentences what vectors of a CLIP model's space mean.

    No image is needed: it learns to say a caption from the caption's own vector. Some thousands of captions that tell of what
    your images show make a good one, in some minutes.

    \b
    Example:
      t2c fit-decoder captions.txt --clip open_clip:ViT-B-32/laion2b_s34b_b79k -o my-decoder
      t2c describe -c photos --decoder my-decoder
    """
    from t2c_search.collection.in_words.decoders import fit_decoder as fit

    with progress_bar("captions") as progress:
        card = fit(captions, output, clip=clip, steps=steps, seed=seed, device=device, dtype=dtype, progress=progress)
    if json:
        print_json(card.to_json())
        return
    rows = {
        "CLIP model": card.clip.id,
        "captions in memory": f"{card.shape.memory:,}",
        "temperature": card.temperature,
        "loss per token": f"{card.loss:.2f}, of captions kept aside",
    }
    out.print(key_value_table(rows))
    shown = out.shown(output)
    out.print(f"decoder written to [bold]{shown}[/]; use it with: t2c describe --decoder {shown} ...", soft_wrap=True)
