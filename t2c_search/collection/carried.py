"""One backbone's images in another's space: what an aligner between two of them retains, on images in labelled folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.collection.models import ModelSelection, trusted
from t2c_search.concepts.retained import Labelled, Retained, retained_accuracy
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.pool import ModelPool, default_pool
from t2c_search.errors import UsageError
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedding import embed
from t2c_search.progress import NoProgress, Progress
from t2c_search.settings import Device, Dtype, load_settings
from t2c_search.sources import require_images
from t2c_search.types import FloatArray

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner


def retained(
    aligner: Aligner,
    images: str | Path | Iterable[str | Path],
    *,
    backbone: str | None = None,
    onto: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    device: Device | None = None,
    dtype: Dtype | None = None,
    pool: ModelPool | None = None,
    progress: Progress | None = None,
) -> Retained:
    """Tell how much of the aligner's backbone's accuracy is left in the space that it carries it onto.

    ``images`` lie in a folder for each class, whose name is the label. Half of each class trains both models' linear probes,
    the other half tests them; which half an image is in depends on its path alone. The models are the aligner's own, by its
    ids or those given. Raises UsageError where there are no two classes of ten images, AlignerMismatchError for other models.
    """
    settings, shown = load_settings(), progress or NoProgress()
    choice = ModelSelection(
        device=device or settings.device, dtype=dtype or settings.dtype, pool=pool or default_pool()
    )
    first = choice.load_backbone(backbone or trusted(aligner.backbone.id, "--backbone"))
    other = choice.load_backbone(onto or trusted(aligner.clip.id, "--onto"))
    aligner.check(encoder_ref(first), encoder_ref(other))
    inputs = require_images(images, progress=shown)
    shown.start(len(inputs), "measuring what is retained")
    batching = Batching.chosen(batch_size, workers)
    aligner = aligner.to(first.device)
    with closing(embed(inputs, (first, other), on_failure=shown.fail, batching=batching)) as batches:
        ids: list[str] = []
        labels: list[str] = []
        parts: list[tuple[FloatArray, ...]] = []
        for batch in batches:
            own, of_other = batch.vectors
            ids.extend(batch.ids)
            labels.extend(_label(str(payload["path"])) for payload in batch.payloads)
            parts.append(tuple(rows.cpu().numpy() for rows in (own, of_other, aligner(own))))
            shown.advance(len(batch.ids))
    if not parts:
        raise UsageError("not one of the labelled images can be read")
    rows = (np.concatenate(part) for part in zip(*parts, strict=True))
    return retained_accuracy(Labelled(labels, *rows), half_of_each(ids, labels))


def half_of_each(ids: Sequence[str], labels: Sequence[str]) -> list[bool]:
    """Mark half of each label's images, those of lowest id, which is a hash."""
    of_label: dict[str, list[str]] = defaultdict(list)
    for image, label in zip(ids, labels, strict=True):
        of_label[label].append(image)
    chosen = {image for images in of_label.values() for image in sorted(images)[: (len(images) + 1) // 2]}
    return [image in chosen for image in ids]


def _label(path: str) -> str:
    return PurePosixPath(path.replace("::", "/")).parent.name
