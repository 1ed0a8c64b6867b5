"""Options that several commands share. Those with a setting default to None, for which the facade reads the setting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from t2c_search.settings import Device, Dtype, Settings


def setting(name: str, *flags: str, by_card: bool = False, **limits: Any) -> Any:
    """Declare an option that, left out, is what a setting says (``by_card``: or the collection, which goes before it).

    Nothing is read before the command runs: help is there whatever is written in ``t2c.toml``.
    """
    default = f"the collection's, or setting {name}" if by_card else f"setting {name}"
    return typer.Option(*flags, help=Settings.model_fields[name].description, show_default=default, **limits)


CollectionName = Annotated[str | None, setting("collection", "--collection", "-c")]
StoreLocation = Annotated[str | None, setting("store", "--store", "-s")]
ClipId = Annotated[str | None, setting("clip", "--clip", by_card=True)]
BackboneId = Annotated[str | None, setting("backbone", "--backbone", by_card=True)]
TextId = Annotated[
    str | None, typer.Option("--text", help="Another text tower for the CLIP model's space, e.g. a multilingual one.")
]
DeviceName = Annotated[Device | None, setting("device", "--device")]
DtypeName = Annotated[Dtype | None, setting("dtype", "--dtype")]
Compile = Annotated[bool | None, setting("compile", "--compile")]
BatchSize = Annotated[int | None, setting("batch_size", "--batch-size", min=1)]
Workers = Annotated[int | None, setting("workers", "--workers", min=1)]
WaitSeconds = Annotated[float | None, setting("wait", "--wait", min=0)]
FitPairs = Annotated[int | None, setting("fit_pairs", "--fit-pairs", min=20)]
Limit = Annotated[int, typer.Option("-n", "--limit", min=1, help="How many hits.")]
Where = Annotated[
    str | None, typer.Option("--where", help="Filter on the payload, e.g. 'width >= 1024 AND camera ~ \"X100V\"'.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
Open = Annotated[
    bool, typer.Option("--open", help="Show them in the browser: the --sheet, or else a page in a temporary folder.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ExplainPlan = Annotated[bool, typer.Option("--explain-plan", help="Show how the answer was found.")]
Method = Annotated[
    str,
    typer.Option("--method", help="How vectors are taken apart; t2c models tells what suits a model, which is auto."),
]
Most = Annotated[
    int, typer.Option("-n", "--most", min=1, help="How many images to look at, of each class where there are some.")
]
Descriptors = Annotated[
    str | None,
    typer.Option(
        "--descriptors",
        help='A file of one descriptor a line, "a,b,c", captions (the collection\'s own words), everyday, or descriptors (parts '
        "and attributes, a long list).",
        show_default="what suits the model",
    ),
]
Side = Annotated[
    int | None,
    typer.Option(
        "--side",
        min=1,
        help="Descriptors that an image, and a text, is given.",
        show_default="50, of a short list a fifth",
    ),
]
Classes = Annotated[
    str,
    typer.Option(
        "--classes",
        help='Names with commas between, or a file: one a line, as "ship", or "ship: cargo ship, cruise ship" for wordings.',
    ),
]
Format = Literal["paths", "jsonl", "csv", "parquet", "coco", "fiftyone", "links", "copies"]
FormatName = Annotated[
    Format | None, typer.Option("--format", help="Write the hits as this; links and copies fill the folder of -o.")
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", help="Columns of a CSV, e.g. rank,path,camera; left out, one for each field."),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write them here, not to standard output.")]
OutputFile = Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")]


class SeveralValues(TyperCommand):
    """A command whose repeatable options also take several values at once: ``--yes a.jpg b.jpg --no c.jpg``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give each of the values that follow such an option, up to the next option, the option's name."""
        several = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        spread: list[str] = []
        current, awaited = "", False
        for arg in args:
            if arg.startswith("-") and not awaited:
                name = arg.partition("=")[0]
                current, awaited = (name if name in several else ""), arg in several
            elif awaited:
                awaited = False
            elif current:
                spread.append(current)
            spread.append(arg)
        return super().parse_args(ctx, spread)
