"""The image encoder around a torch module, which most kinds share."""

from __future__ import annotations

from functools import cached_property

import torch
from PIL import Image

from t2c_search.encoders.adapters.anatomy import Anatomy
from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.encoders.adapters.stages import Stages
from t2c_search.encoders.compiling import Forward, compiled
from t2c_search.encoders.fingerprint import digest_json, digest_weights
from t2c_search.encoders.placement import Placement
from t2c_search.errors import EncoderError
from t2c_search.types import Fingerprint

_PROBE_SIDE = 64  # of the blank image that a model sees when it is loaded; its own preprocessing resizes it


class ImageTower:
    """A torch module that maps pixels (n, 3, h, w) to embeddings (n, image_dim), with its own preprocessing.

    What it is capable of beyond that (see ``capabilities``) depends on the module: its ``anatomy``, where that is known.
    Raises EncoderError when the module does not embed: a blank image goes through it on construction.
    """

    def __init__(
        self,
        encoder_id: str,
        module: torch.nn.Module,
        preprocessing: Preprocessing,
        placement: Placement,
        anatomy: Anatomy | None = None,
    ) -> None:
        self.id = encoder_id
        self.module = module.eval().requires_grad_(False).to(placement.device)
        self.decode_size = preprocessing.decode_size
        self._preprocessing = preprocessing.on(placement.device)
        self._placement = placement
        on_cuda = placement.device.type == "cuda"
        self._copying = torch.cuda.Stream(placement.device) if on_cuda else None  # type: ignore[no-untyped-call]
        # Convolutions run a third faster channels-last, on CPUs too; on mps the layout has given wrong results.
        self._layout = torch.contiguous_format if placement.device.type == "mps" else torch.channels_last
        self.module.to(memory_format=self._layout)
        self._forward: Forward = self.embed
        if anatomy is not None:
            self.feature_map, self.head = anatomy.feature_map, anatomy.head
            if anatomy.blocks:  # absent otherwise, so that isinstance tells
                self.blocks = anatomy.blocks
        source = module if isinstance(module, Stages) else anatomy
        if source is not None and source.are_sums:
            self.shares = source.shares
        if source is not None and source.pooled is not None:
            self.poolings, self.pooled_tokens = source.pooled.poolings, source.pooled.tokens
        self.image_dim = self._probe()

    @property
    def device(self) -> torch.device:
        """Where the module runs."""
        return self._placement.device

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digests of the module's weights and of the description of its preprocessing."""
        return Fingerprint(digest_weights(self.module.state_dict()), digest_json(self._preprocessing.description))

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Map an upright RGB image to the module's input without batch axis, on the CPU: uint8 or float32."""
        return self._preprocessing.prepare(image)

    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        """Map n stacked ``prepare`` results to (n, image_dim) float32 on ``device``, not normalised."""
        with torch.inference_mode():
            pixels = self.normalise(batch)
            with self._placement.autocast():
                rows = self._forward(pixels)
        # The copy is an ordinary tensor: an inference tensor would fail in its user's in-place or autograd code.
        return rows.to(torch.float32, copy=True)

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Map n stacked ``prepare`` results to the pixels that the module sees, (n, 3, h, w) float32 on ``device``."""
        pixels = self._to_device(batch)
        if pixels.ndim == 4:
            pixels = pixels.to(memory_format=self._layout)  # before it is four times as large
        return self._preprocessing.normalise(pixels)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the module on normalised pixels."""
        return self.module(pixels)  # type: ignore[no-any-return]

    def compile(self) -> None:
        """Have the image side compiled with torch.compile, which takes a minute when it first runs."""
        self._forward = compiled(self.id, self.embed)

    def _to_device(self, batch: torch.Tensor) -> torch.Tensor:
        """Copy a batch to the device; to a GPU, from pinned memory, while that still computes the one before."""
        if self._copying is None:
            return batch.to(self.device)
        with torch.cuda.stream(self._copying):
            copied = batch.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copying)
        copied.record_stream(computing)  # its memory is not given to the next copy before it is used up
        return copied

    def _probe(self) -> int:
        blank = self.prepare(Image.new("RGB", (_PROBE_SIDE, _PROBE_SIDE)))
        if not isinstance(blank, torch.Tensor):
            raise EncoderError(f"{self.id!r}: its preprocessing gives {type(blank).__name__}, expected a torch.Tensor")
        rows = self.encode_images(blank.unsqueeze(0))
        if rows.ndim != 2:
            raise EncoderError(
                f"{self.id!r} gives {tuple(rows.shape)} for one image, expected (1, d): "
                "it has no pooling, so it is a feature map and no embedding"
            )
        return rows.shape[1]
