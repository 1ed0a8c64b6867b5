"""The fitted map from a backbone's space to CLIP space, and its file: safetensors with provenance as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize

from t2c_search.alignment.report import FitReport
from t2c_search.aside import file_aside
from t2c_search.errors import AlignerMismatchError, AlignmentError
from t2c_search.types import EncoderRef

FORMAT_VERSION = 1
"""Raised whenever an older version could misread the file."""
_METADATA = "t2c_search.aligner"
_HEADER_LENGTH_BYTES = 8  # a safetensors file starts with its header's length, little-endian

Transform = Literal["identity", "unit"]
TRANSFORMS: dict[Transform, Callable[[Tensor], Tensor]] = {"identity": lambda rows: rows, "unit": normalize}
"""What may be done to the backbone's rows (n, d_backbone) before the affine map."""


def place_on_sphere(points: Tensor, axis: Tensor) -> Tensor:
    """Map points (n, d) to unit rows (n, d) that keep their component along ``axis`` (d,), a unit vector or zero.

    A regression's predictions are shorter than 1, the more so the less they know. Dividing by the length inflates their
    component along the mean, where all CLIP vectors are long, and so forgets how that component differs between images.
    Here it stays, and the rest takes the length that a unit row leaves it. A zero axis is plain normalisation.
    """
    component = (points @ axis).unsqueeze(1)
    rest = normalize(points - component * axis)
    component = component.clamp(-1, 1)
    return normalize(component * axis + (1 - component**2).sqrt() * rest)


@dataclass(frozen=True, slots=True, eq=False)
class Aligner:
    """Maps (n, d_backbone) float rows to unit rows (n, d_clip) float32: ``place_on_sphere(affine(rows), axis)``.

    ``affine`` is ``TRANSFORMS[transform](rows) @ weight + bias``; its parts are public so that Jacobians can go
    through. Made by ``fit_aligner``. The tensors are float32 on one device.
    """

    backbone: EncoderRef
    clip: EncoderRef
    transform: Transform
    weight: Tensor
    """(d_backbone, d_clip)"""
    bias: Tensor
    """(d_clip,)"""
    axis: Tensor
    """(d_clip,): unit vector along the mean of the true rows, or zero."""
    report: FitReport

    def affine(self, rows: Tensor) -> Tensor:
        """Map (n, d_backbone) to (n, d_clip) float32, not yet on the sphere. Raises AlignmentError on another width."""
        if rows.ndim != 2 or rows.shape[1] != len(self.weight):
            raise AlignmentError(
                f"the aligner for {self.backbone.id!r} takes rows of {len(self.weight)} numbers, got an array of shape "
                f"{tuple(rows.shape)}: align only what that backbone gave"
            )
        return TRANSFORMS[self.transform](rows.float()) @ self.weight + self.bias

    def __call__(self, rows: Tensor) -> Tensor:
        """Map (n, d_backbone) to unit rows (n, d_clip) float32. Raises AlignmentError on another width."""
        return place_on_sphere(self.affine(rows), self.axis)

    def to(self, device: torch.device | str) -> Aligner:
        """Return the same map with its tensors on another device."""
        return replace(self, weight=self.weight.to(device), bias=self.bias.to(device), axis=self.axis.to(device))

    def check(self, backbone: EncoderRef, clip: EncoderRef) -> None:
        """Raise AlignerMismatchError, naming both sides, unless this aligner was fitted for these two models."""
        for role, own, came in (("backbone", self.backbone, backbone), ("CLIP model", self.clip, clip)):
            if differing := own.difference(came):
                raise AlignerMismatchError(
                    f"the aligner was fitted for the {role} {own.id!r}, not for {came.id!r}, which has other {differing}: "
                    f"use that {role}, or fit a new aligner for this one"
                )

    def to_bytes(self) -> bytes:
        """Return the aligner as the content of a safetensors file."""
        provenance = _Provenance(
            format_version=FORMAT_VERSION,
            backbone=self.backbone,
            clip=self.clip,
            transform=self.transform,
            report=self.report,
        )
        tensors = {"weight": self.weight, "bias": self.bias, "axis": self.axis}
        return safetensors.torch.save(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            {_METADATA: provenance.model_dump_json()},
        )

    def save(self, path: str | Path) -> None:
        """Write the aligner to a file, which is there when it is complete. Raises UsageError when that cannot be done."""
        with file_aside(Path(path)) as target:
            target.write(self.to_bytes())

    @classmethod
    def from_bytes(cls, content: bytes, source: str = "these bytes") -> Aligner:
        """Read an aligner back, onto the CPU. Raises AlignmentError, naming ``source``, when it is none."""
        try:
            provenance = _read_provenance(content, source)
            tensors = safetensors.torch.load(content)
            aligner = cls(
                provenance.backbone,
                provenance.clip,
                provenance.transform,
                tensors["weight"],
                tensors["bias"],
                tensors["axis"],
                provenance.report,
            )
        except (SafetensorError, ValidationError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as exc:
            raise AlignmentError(f"{source} holds no aligner that can be read; make one with t2c fit") from exc
        d_backbone, d_clip = provenance.backbone.dim, provenance.clip.dim
        if aligner.weight.shape != (d_backbone, d_clip) or {aligner.bias.shape, aligner.axis.shape} != {(d_clip,)}:
            raise AlignmentError(
                f"{source} holds an aligner of shape {tuple(aligner.weight.shape)}, which does not fit its own models "
                f"of {d_backbone} and {d_clip} dimensions; make one with t2c fit"
            )
        return aligner

    @classmethod
    def load(cls, path: str | Path) -> Aligner:
        """Read an aligner from a file, onto the CPU. Raises AlignmentError when it is none."""
        try:
            content = Path(path).read_bytes()
        except OSError as exc:
            raise AlignmentError(f"the aligner {path} cannot be read: {exc.strerror}") from exc
        return cls.from_bytes(content, str(path))


class _Version(BaseModel):
    """The one field that every version of the provenance has."""

    format_version: int


class _Provenance(BaseModel):
    """What an aligner's file says beside its numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int
    backbone: EncoderRef
    clip: EncoderRef
    transform: Transform
    report: FitReport


def _read_provenance(content: bytes, source: str) -> _Provenance:
    end = _HEADER_LENGTH_BYTES + int.from_bytes(content[:_HEADER_LENGTH_BYTES], "little")
    document = json.loads(content[_HEADER_LENGTH_BYTES:end])["__metadata__"][_METADATA]
    version = _Version.model_validate_json(document).format_version
    if version > FORMAT_VERSION:
        raise AlignmentError(
            f"{source} holds an aligner of format {version}, this t2c_search reads up to {FORMAT_VERSION}; "
            "upgrade t2c-search"
        )
    return _Provenance.model_validate_json(document)
