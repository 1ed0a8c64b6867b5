"""Options that several commands share; their defaults are the settings', where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from t2c_search.settings import Device, Dtype, load_settings

SETTINGS = load_settings()

CollectionName = Annotated[str, typer.Option("--collection", "-c", help="Collection to work on.")]
StoreLocation = Annotated[
    str, typer.Option("--store", "-s", help="Folder of the embedded store, or http:// address of a Qdrant server.")
]
ClipId = Annotated[
    str | None, typer.Option("--clip", help="CLIP model, the one that understands texts (see: t2c models).")
]
BackboneId = Annotated[
    str | None,
    typer.Option("--backbone", help="Model that looks at the images; the CLIP model itself when left out."),
]
TextId = Annotated[
    str | None, typer.Option("--text", help="Another text tower for the CLIP model's space, e.g. a multilingual one.")
]
DeviceName = Annotated[Device, typer.Option("--device", help="Where models run.")]
DtypeName = Annotated[Dtype, typer.Option("--dtype", help="Precision of models; float32 on a CPU when auto.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile image models with torch.compile before they run.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Images per forward pass; what fits the memory when left out.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Decoding threads; the number of processors when left out.")
]
Limit = Annotated[int, typer.Option("-n", "--limit", min=1, help="How many hits.")]
Where = Annotated[
    str | None, typer.Option("--where", help="Filter on the payload, e.g. 'width >= 1024 AND camera ~ \"X100V\"'.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
ExplainPlan = Annotated[bool, typer.Option("--explain-plan", help="Show how the answer was found.")]
Format = Literal["paths", "jsonl", "csv", "parquet", "coco", "fiftyone", "links", "copies"]
FormatName = Annotated[
    Format | None, typer.Option("--format", help="Write the hits as this; links and copies fill the folder of -o.")
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
