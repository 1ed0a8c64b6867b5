"""How many images go through the models at once, where nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2c_search.encoders import registry
from t2c_search.indexing import batching
from t2c_search.indexing.batching import FIRST_BATCH, LARGEST_BATCH, images_that_fit, measuring
from t2c_search.indexing.embedding import embed
from t2c_search.sources import list_images
from t2c_search.types import Failure
from tests.encoders import tiny

from .support import TinyEncoder, save_pictures

CPU = torch.device("cpu")


def never(failure: Failure) -> None:
    raise AssertionError(failure)


@given(st.integers(0, 2**40), st.integers(0, 2**33), st.integers(1, 2_000))
def test_the_largest_power_of_two_that_half_the_memory_holds(free: int, each: int, most: int) -> None:
    chosen = images_that_fit(free, each, most)
    assert chosen.bit_count() == 1
    assert chosen <= most
    assert chosen == 1 or 2 * chosen * each <= free
    assert 2 * chosen > most or 2 * 2 * chosen * each > free - 2 * each  # the next one is too many


@given(st.integers(0, 2**40), st.integers(1, 2**33), st.integers(1, 2_000))
def test_more_memory_and_smaller_images_never_make_batches_smaller(free: int, each: int, most: int) -> None:
    chosen = images_that_fit(free, each, most)
    assert images_that_fit(2 * free, each, most) >= chosen
    assert images_that_fit(free, each // 2, most) >= chosen


def test_large_images_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_free_main_memory", lambda: 4 << 30)
    usual, large = torch.empty(3, 224, 224), torch.empty(3, 2048, 2048)
    assert measuring(CPU, [usual])(FIRST_BATCH) == LARGEST_BATCH
    assert measuring(CPU, [large])(FIRST_BATCH) == measuring(CPU, [usual, large])(FIRST_BATCH) == 1


def test_this_machine_has_room_for_something() -> None:
    assert batching._free_main_memory() > 1 << 20


class Counting(TinyEncoder):
    def __init__(self, room: int = 1_000) -> None:
        super().__init__()
        self.room = room
        self.sizes: list[int] = []

    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise torch.OutOfMemoryError(f"no room for more than {self.room}")
        return super().encode_images(batch)


def test_a_first_batch_tells_the_size_of_the_others(tmp_path: Path) -> None:
    save_pictures(tmp_path, 100)
    encoder = Counting()
    images = list_images([tmp_path])
    found = [image for batch in embed(images, (encoder,), on_failure=never) for image in batch.ids]
    assert found == [image.id for image in images]
    assert encoder.sizes == [FIRST_BATCH, LARGEST_BATCH, 100 - FIRST_BATCH - LARGEST_BATCH]


def test_a_first_batch_without_room_keeps_the_others_small(tmp_path: Path) -> None:
    save_pictures(tmp_path, 40)
    encoder = Counting(room=5)
    assert sum(len(batch.ids) for batch in embed(list_images([tmp_path]), (encoder,), on_failure=never)) == 40
    assert encoder.sizes == [16, 8, *[4] * 10]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpus_batch_fits_into_its_free_memory(tmp_path: Path) -> None:
    encoder = registry.load_image_encoder(tiny.save_timm(tmp_path / "model", "test_resnet", seed=0), device="cuda")
    batch = torch.randint(0, 256, (FIRST_BATCH, 3, 64, 64), dtype=torch.uint8).pin_memory()
    choose = measuring(encoder.device, [batch[0]])
    encoder.encode_images(batch)
    size = choose(FIRST_BATCH)
    assert size >= FIRST_BATCH  # of images of 12 KB
    free = torch.cuda.mem_get_info()[0]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    encoder.encode_images(batch.repeat(size // FIRST_BATCH, 1, 1, 1))
    assert torch.cuda.max_memory_allocated() - before <= free
