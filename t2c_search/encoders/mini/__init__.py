"""The bundled mini models: folders of configuration and fp16 weights, trained on drawn scenes only (see MODEL_CARD.md)."""

from __future__ import annotations

from pathlib import Path

from t2c_search.errors import UnknownEncoderError

NAMES = ("clip", "cnn", "vit", "decoder")


def path(name: str) -> Path:
    """The folder of a mini model: ``clip``, ``cnn``, ``vit`` or ``decoder``.

    Raises UnknownEncoderError for any other name.
    """
    if name not in NAMES:
        raise UnknownEncoderError(f"no mini model '{name}'; there are: {', '.join(NAMES)}")
    return Path(__file__).parent / name
