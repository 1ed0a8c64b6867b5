"""clip-retrieval's own inference on a timm model: its reader, its runner and its writer; prints the seconds of each round.

    python benchmarks/_clip_retrieval.py MODEL_FOLDER IMAGE_FOLDER BATCH ROUNDS

Run by the Python of an environment of its own, as clip-retrieval takes sentence-transformers 2 and numpy 1, and its clip
package an old setuptools: pip install clip-retrieval "setuptools<70".
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import timm
import torch
from clip_retrieval.clip_inference.mapper import ClipMapper
from clip_retrieval.clip_inference.reader import FilesReader
from clip_retrieval.clip_inference.runner import Runner
from clip_retrieval.clip_inference.writer import NumpyWriter
from PIL import Image

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Mapper(ClipMapper):
    """Its mapper for images, with a model that is loaded already."""

    def __init__(self, model: Callable[..., Any]) -> None:
        self.enable_image, self.enable_text, self.enable_metadata = True, False, False
        self.device, self.model_img = DEVICE, model


class Silent:
    """Its logger starts a process to write a file of statistics; the rest of the run is what is compared."""

    def start(self) -> None: ...

    def __call__(self, stats: object) -> None: ...

    def end(self) -> None: ...


def main(model_folder: str, image_folder: str, batch: str, rounds: str) -> None:
    model = timm.create_model(f"local-dir:{model_folder}", pretrained=True, num_classes=0).eval().to(DEVICE)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    only_images = {"enable_text": False, "enable_image": True, "enable_metadata": False}

    def reader(sampler: Callable[..., Any]) -> FilesReader:
        workers = os.cpu_count() or 1
        return FilesReader(sampler, preprocess, None, image_folder, int(batch), workers, **only_images)

    def preprocess(image: Image.Image) -> Any:
        return transform(image.convert("RGB"))

    for _ in range(int(rounds)):
        with tempfile.TemporaryDirectory() as output:
            runner = Runner(
                reader_builder=reader,
                mapper_builder=lambda: Mapper(model),
                writer_builder=lambda index: NumpyWriter(index, output, output_partition_count=1, **only_images),
                logger_builder=lambda index: Silent(),
                output_partition_count=1,
            )
            began = time.perf_counter()
            runner(0)
            print(f"seconds {time.perf_counter() - began}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
