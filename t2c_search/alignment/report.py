"""How good an aligner is, on images that its fit did not see."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)
