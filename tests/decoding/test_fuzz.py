"""Five hundred damaged image files: each is indexed or failed, none stops the run or holds it up."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from t2c_search.decoding.decode import FORMATS, DecodedImage, decode
from t2c_search.indexing import embedding
from t2c_search.sources import list_images
from t2c_search.state.failures import read_failures
from t2c_search.stores import open_store
from tests.indexing.support import create, index, picture

from .test_decode import png, png_header

FILES = 500
LONGEST_SECONDS = 5.0
SIDE = 10_200  # pixels: more than are held whole at once, far less than an image may have
LARGEST_PEAK = 640 << 10  # KiB, of decoding one: a copy of its pixels takes 400 MiB
PEAK = """
import sys
from pathlib import Path
from t2c_search.decoding.decode import decode_file

def peak():  # not getrusage: its peak is inherited from the process that started this one
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(told["VmHWM"].split()[0])

before = peak()
print(*decode_file(sys.argv[1], decode_size=224).size, peak() - before)
"""
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "HEIF": "heic"}
SUFFIXES |= {"AVIF": "avif"} if "AVIF" in FORMATS else {}


def whole_files() -> dict[str, bytes]:
    """One small picture in every format, with EXIF where the format has it."""
    contents = {}
    for number, name in enumerate(SUFFIXES):
        stream = io.BytesIO()
        image = picture(number, (64, 48))
        exif = image.getexif()
        exif[0x0112], exif[0x010F] = 6, "A camera"
        image.save(stream, name, **({"exif": exif} if name in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF") else {}))
        contents[name] = stream.getvalue()
    return contents


def truncated(dice: random.Random, name: str, whole: dict[str, bytes]) -> bytes:
    return whole[name][: dice.randrange(len(whole[name]))]


def flipped(dice: random.Random, name: str, whole: dict[str, bytes]) -> bytes:
    content = bytearray(whole[name])
    reach = len(content) if dice.random() < 0.5 else 200  # headers decide on sizes, offsets and codecs
    for _ in range(dice.choice((1, 3, 10, 50))):
        content[dice.randrange(min(reach, len(content)))] ^= 1 << dice.randrange(8)
    return bytes(content)


def spliced(dice: random.Random, name: str, whole: dict[str, bytes]) -> bytes:
    """The beginning of one format and the end of another."""
    other = whole[dice.choice(list(whole))]
    return whole[name][: dice.randrange(len(whole[name]))] + other[dice.randrange(len(other)) :]


def polyglot(dice: random.Random, name: str, whole: dict[str, bytes]) -> bytes:
    """A whole file with another behind it, or a page or archive before it."""
    before = dice.choice(
        (b"", b"<html><script>alert(1)</script>", b"PK\x03\x04" + bytes(26), b"%PDF-1.7\n", b"#!/bin/sh\n")
    )
    return before + whole[name] + whole[dice.choice(list(whole))]


def bomb(dice: random.Random, name: str, whole: dict[str, bytes]) -> bytes:
    """Headers that promise far more pixels than the file has."""
    return dice.choice(
        (
            png_header(dice.randrange(20_000, 2**31), dice.randrange(20_000, 2**31)),
            png_header(dice.randrange(1, 12_000), dice.randrange(1, 12_000)),
            b"GIF89a"
            + dice.randbytes(4)
            + b"\x80\x00\x00"
            + bytes(6)
            + b",\0\0\0\0\xff\xff\xff\xff\0\x02"
            + dice.randbytes(99),
            b"BM" + dice.randbytes(12) + (40).to_bytes(4, "little") + dice.randbytes(36) + bytes(100),
            whole["TIFF"][:8] + dice.randbytes(200),
        )
    )


def swapped(dice: random.Random, name: str, whole: dict[str, bytes]) -> bytes:
    """A whole file of another format: what it is called must not matter."""
    return whole[dice.choice(list(whole))]


MUTATIONS: tuple[Callable[[random.Random, str, dict[str, bytes]], bytes], ...] = (
    truncated,
    flipped,
    flipped,
    spliced,
    polyglot,
    bomb,
    swapped,
)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata in many ways
def test_damaged_files_are_indexed_or_failed_and_hold_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, whole = random.Random(11), whole_files()
    for number in range(FILES):
        mutate, name = MUTATIONS[number % len(MUTATIONS)], dice.choice(list(SUFFIXES))
        path = tmp_path / f"{number:03d}-{mutate.__name__}.{SUFFIXES[name]}"
        path.write_bytes(mutate(dice, name, whole))
    seconds: list[float] = []

    def timed(content: bytes, decode_size: int | None) -> DecodedImage:
        began = time.thread_time()
        try:
            return decode(content, decode_size)
        finally:
            seconds.append(time.thread_time() - began)

    monkeypatch.setattr(embedding, "decode", timed)
    store = create(open_store(":memory:", "photos"))
    report = index(list_images([tmp_path]), store)
    indexed = {payload["path"] for points in store.scan() for payload in points.payloads}
    failed = {failure.path for failure in report.failures}
    assert indexed.isdisjoint(failed)
    assert len(indexed | failed) == report.seen == FILES
    assert report.indexed == len(indexed) == store.count()
    assert {failure.path for failure in read_failures(store)} == failed
    assert all(failure.reason for failure in report.failures)
    assert {path for path in indexed | failed if "swapped" in path} <= indexed
    assert 100 < len(failed) < 400
    assert max(seconds) < LONGEST_SECONDS


def deflated(row: bytes, rows: int) -> bytes:
    """A row many times over, deflated at little cost: all blocks but the first are the same compressed bytes."""
    block, blocks, packer, checksum = row * 100, rows // 100, zlib.compressobj(9), 1
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    for _ in range(blocks):
        checksum = zlib.adler32(block, checksum)
    return first + again * (blocks - 1) + zlib.compressobj(9, wbits=-15).flush() + struct.pack(">I", checksum)


def large_png() -> bytes:
    """Half-transparent pixels."""
    return png(SIDE, SIDE, 6, deflated(b"\0" + b"\xc8\x0a\x0a\x64" * SIDE, SIDE))


def large_tiff() -> bytes:
    """Floats, in strips of 100 rows that all lie at the same place in the file."""
    strip, strips = deflated(struct.pack("<f", 1.5) * SIDE, 100), SIDE // 100
    place = 8 + len(strip)
    tags = [
        (256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, 32), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, strips, place),
        (277, 3, 1, 1), (278, 4, 1, 100), (279, 4, strips, place + 4 * strips), (339, 3, 1, 3),
    ]  # fmt: skip
    lists = struct.pack(f"<{2 * strips}I", *[8] * strips, *[len(strip)] * strips)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", place + len(lists)) + strip + lists + directory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process this way")
@pytest.mark.parametrize("make", [large_png, large_tiff])
def test_small_files_of_very_many_pixels_take_the_memory_of_one_copy(make: Callable[[], bytes], tmp_path: Path) -> None:
    """The bound on time, without a clock: each copy that is not made is a second that is not spent."""
    path = tmp_path / "bomb"
    path.write_bytes(make())
    assert path.stat().st_size < 2_000_000
    child = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    width, height, peak = map(int, child.stdout.split())
    assert (width, height) == (464, 464)  # 10,200 pixels in squares of 22
    assert peak < LARGEST_PEAK
