"""How good an aligner is, on images that its fit did not see."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_FIDELITY, _RECALL = (0.6, 0.35), (0.6, 0.3)
"""From where a concept fidelity, or a centred recall at 1 where there are no texts, is good, and fair. MobileNetV2 on 684
photographs has 0.38 and 0.29, and finds by text as the CLIP model itself does (``benchmarks.alignment``)."""
_ENOUGH = 1_000  # pairs


@dataclass(frozen=True, slots=True)
class FitReport:
    """Quality of one fit; every figure but ``pooled_training_r2`` is of held-out pairs, by a map fitted without them.

    The strength was chosen on the same held-out pairs, so the figures are slightly flattering. The aligner that goes
    with the report was then fitted again on all pairs at that strength.
    """

    method: str
    criterion: str
    """What the strength and the restoration were chosen by."""
    strength: float
    """Ridge penalty, in units of the mean variance of the features along their principal directions."""
    restoration: float
    """How much of the variance that shrinkage took was given back: 0 none, 1 all."""
    pairs: int
    """Pairs in all, the held-out ones included."""
    held_out_pairs: int
    r2: float
    """Per CLIP dimension 1 - residual / variance of the affine map, averaged over the dimensions; 0 for a constant.
    Restoring variance lowers it, down to below 0, while it improves every figure that speaks of searching."""
    mean_cosine: float
    """Between an aligned row and the true one."""
    concept_fidelity: float | None
    """Mean over concepts of the correlation, across images, of a concept's cosine with the aligned and with the true
    row. None without concepts."""
    recall_at_1: float
    """Share of aligned rows whose own true row is the nearest of the held-out true rows, by cosine."""
    recall_at_10: float
    centred_recall_at_1: float
    """The same after subtracting from each side its mean."""
    centred_recall_at_10: float
    pooled_training_r2: float
    """1 - mean squared error / variance of all numbers pooled over dimensions, on the *training* pairs: what the
    Text-to-Concept paper calls R2. It flatters: a constant can score well by it."""
    seconds: float
    """Wall time of the fit, the wait for the embeddings included."""

    @property
    def verdict(self) -> str:
        """Say in words whether the aligner is good, by the figure that speaks of texts, and what to do where it is not."""
        figure, good, fair = self.concept_fidelity, *_FIDELITY
        if figure is None:
            figure, good, fair = self.centred_recall_at_1, *_RECALL
        advice = "" if self.pairs >= _ENOUGH else f"; fitted on {self.pairs} images only: some thousands make it better"
        if figure >= good:
            return f"good: texts rank these images much as they do in the CLIP model's own space{advice}"
        if figure >= fair:
            return f"fair: the first hits of a text are mostly right, thresholds are less so{advice}"
        remedy = advice or "; fit on images like those you search, or take a stronger backbone"
        return f"poor: expect wrong hits among the first{remedy}"

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)
