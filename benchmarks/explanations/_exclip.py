"""The authors' package beside ours: the same picture, text and random weights, each in its own process.

Why maps differ: its reference text has one word whatever the text, and is read where the text ends, at padding (correlation
0.91 with ours; 0.997 with a reference as long as the text); the rest is its right Riemann sum of 10 nodes, which moves our
own maps as far (largest difference 0.077 both).

Run as a script by an interpreter that has ``exclip``, it explains what a folder holds and leaves its answers there; that is
why nothing of this project is imported at the top.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch

MODEL = "ViT-B-16"
TEXTS = ("red scarf", "a dog and two cats on the green grass beside a small red house")
"""Of 4 and of 16 tokens, with start and end."""
WAYS = {"as it comes": 1, "its reference as long as the text": 2}
"""How many words the explainer's reference of a text has: the end token is read where the text has it, whatever that is."""
AGREEMENT = ("correlation", "largest difference")
"""Of maps with ours; the difference as a part of our largest value."""


def beside_ours(python: Path, encoder: Any) -> dict[str, dict[str, Any]]:
    """Return rows of seconds, memory and, for each of ``WAYS``, how far its maps of the words agree with ours."""
    from t2c_search.attribution import analytic
    from t2c_search.attribution.tokens import token_factors

    picture = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))

    def ours(text: str) -> torch.Tensor:
        places = analytic.factors(encoder, None, picture)
        words = token_factors(encoder, [text], block=-1)
        return words.parts[0] @ places.parts[0].T

    rows: dict[str, dict[str, Any]] = {}
    for text in TEXTS:
        maps, seconds, megabytes = measured(lambda text=text: ours(text))
        rows[f"ours, {len(maps) + 2} tokens"] = {"seconds": seconds, "MB": megabytes}
    maps = ours(TEXTS[0])
    with tempfile.TemporaryDirectory() as folder:
        asked = {
            "weights": encoder.module.state_dict(),
            "picture": picture,
            "tokens": open_clip.get_tokenizer(MODEL)(TEXTS[:1]),
        }
        torch.save(asked, Path(folder) / "asked.pt")
        answers = {}
        for way, words in WAYS.items():
            subprocess.run([python, __file__, folder, str(words)], check=True)
            answers[way] = torch.load(Path(folder) / "answer.pt")
    for way, (found, seconds, megabytes) in answers.items():
        theirs = found[1:-1].flatten(1)  # without start and end, which are in our base
        correlation = torch.corrcoef(torch.stack([theirs.flatten(), maps.flatten()]))[0, 1].item()
        difference = ((theirs - maps).abs().max() / maps.abs().max()).item()
        figures = {"seconds": seconds, "MB": megabytes, **dict(zip(AGREEMENT, (correlation, difference), strict=True))}
        rows[f"exclip, 4 tokens, {way}"] = figures
    return rows


def measured(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a run gives, its processor seconds, and the MB by which this process's peak rose."""
    before, start = _peak(), time.process_time()
    result = run()
    return result, time.process_time() - start, _peak() - before


def _peak() -> float:
    """The most MB that this process has held; nan where Linux does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ()
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), float("nan"))


def _explain(folder: Path, words: int) -> None:
    from exclip import OpenClipExplainer

    asked = torch.load(folder / "asked.pt")
    model = open_clip.create_model(MODEL)
    model.load_state_dict(asked["weights"])
    explainer = OpenClipExplainer(model.eval(), device=torch.device("cpu"), text_ref_len=words)
    answer = measured(lambda: explainer.explain(asked["tokens"], asked["picture"]))
    torch.save(answer, folder / "answer.pt")


if __name__ == "__main__":
    _explain(Path(sys.argv[1]), int(sys.argv[2]))
