"""A video is a frame every few seconds; each frame is the picture that shows then, wherever the key frames are."""

from __future__ import annotations

import io
import random
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from t2c_search.errors import ImageError
from t2c_search.sources import ImageList, list_images, read_image
from t2c_search.sources.containers import video as source
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import index

av = pytest.importorskip("av", reason="PyAV is not installed: pip install t2c-search[video]")

RATE = 4  # frames a second
SIDE = 64


def grey(picture: Image.Image) -> float:
    return float(np.median(np.asarray(picture.convert("L"))))


def save_video(path: Path, frames: int, *, codec: str = "mpeg4") -> Path:
    """Frame n is grey of brightness 4n + 10, one corner black; a key frame comes every 7."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = SIDE * 2, SIDE, "yuv420p", 7
        stream.bit_rate = 10_000_000
        for number in range(frames):
            pixels = np.full((SIDE, SIDE * 2, 3), 4 * number + 10, np.uint8)
            pixels[:16, :16] = 0  # to tell how it is turned
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return save_video(tmp_path / "clip.mp4", 50)  # 12.5 s


def brightness(images: ImageList) -> list[float]:
    return [grey(Image.open(io.BytesIO(read_image(item.path)))) for item in images]


def test_frames_are_listed_every_few_seconds_with_their_time(video: Path) -> None:
    images = list_images([video], every=5)
    assert [item.path for item in images] == [f"{video}::{second}.000.png" for second in (0, 5, 10)]
    assert [item.fields for item in images] == [{"video": str(video), "seconds": float(s)} for s in (0, 5, 10)]
    assert {item.mtime_ns for item in images} == {video.stat().st_mtime_ns}
    assert [item.id for item in list_images([video], every=2.5)][::2] == [item.id for item in images]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.mp4", "mpeg4"),
        ("clip.mkv", "mpeg4"),
        ("clip.avi", "mpeg4"),
        ("clip.ts", "mpeg4"),
        ("clip.mp4", "libx264"),
    ],
)  # a transport stream starts at 1.4 s; H.264 stores pictures in another order than it shows them
def test_each_frame_is_the_one_that_shows_then(tmp_path: Path, name: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {codec}")
    images = list_images([save_video(tmp_path / name, 50, codec=codec)], every=1.25)
    np.testing.assert_allclose(brightness(images), [4 * 5 * n + 10 for n in range(10)], atol=1.9)


def test_a_frame_between_two_pictures_is_the_earlier_one(video: Path) -> None:
    shown = grey(Image.open(io.BytesIO(read_image(f"{video}::3.100.png"))))
    assert abs(shown - (4 * 12 + 10)) < 1.9  # picture 12 shows from 3.0 to 3.25 s


def test_a_video_held_upright_is_upright(tmp_path: Path) -> None:
    """Phones store pictures lying and say in the track's header to turn them: here a quarter clockwise."""
    video = save_video(tmp_path / "phone.mp4", 4)
    content = bytearray(video.read_bytes())
    matrix = content.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2, version 0
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, SIDE << 16, 0, 1 << 30)
    lying = Image.open(io.BytesIO(read_image(f"{video}::0.000.png")))
    video.write_bytes(content)
    upright = Image.open(io.BytesIO(read_image(f"{video}::0.000.png")))
    assert (lying.size, upright.size) == ((SIDE * 2, SIDE), (SIDE, SIDE * 2))
    np.testing.assert_array_equal(np.asarray(upright), np.rot90(np.asarray(lying), -1))


def shown(video: Path, seconds: float) -> float:
    return grey(Image.open(io.BytesIO(read_image(f"{video}::{seconds:.3f}.png"))))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[BinaryIO]:
    """The files of videos that were opened."""
    files: list[BinaryIO] = []
    open_binary = source.open_binary

    def noting(address: str) -> BinaryIO:
        files.append(open_binary(address))
        return files[-1]

    monkeypatch.setattr(source, "open_binary", noting)
    return files


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_in_any_order_are_the_same(tmp_path: Path, codec: str, opened: list[BinaryIO]) -> None:
    """On and back, between two pictures, within and beyond the reach of decoding on, at the end."""
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {codec}")
    video = save_video(tmp_path / "clip.mp4", 60, codec=codec)
    times = [0, 0, 0.1, 14.9, 14.75, 12, 0.2, 11, 1, 14.99, 14.8, 14.7, 0.25]
    times += [random.Random(20261125).uniform(0, 15) for _ in range(60)]
    found = [shown(video, seconds) for seconds in times]
    np.testing.assert_allclose(found, [4 * int(seconds * RATE) + 10 for seconds in times], atol=1.9)


def test_a_video_is_opened_once_for_its_frames_in_order_and_closed_at_its_end(
    video: Path, opened: list[BinaryIO]
) -> None:
    images = list_images([video], every=0.5)
    listing = len(opened)
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(read_image, [item.path for item in images]))
    assert len(images) == 25
    assert len(opened) == listing + 1
    with pytest.raises(ImageError, match="no frame"):
        shown(video, 13)  # behind the end
    assert len(opened) == listing + 1
    assert all(file.closed for file in opened)


def test_no_more_than_two_videos_stay_open(tmp_path: Path, opened: list[BinaryIO]) -> None:
    for number in range(5):
        shown(save_video(tmp_path / f"{number}.mp4", 50), 1)
    assert [file.closed for file in opened] == [True, True, True, False, False]


def test_frames_behind_damage_are_found_from_the_next_key_frame(tmp_path: Path) -> None:
    video = save_video(tmp_path / "clip.avi", 50)
    content = bytearray(video.read_bytes())
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        places = [(packet.pos, packet.size) for packet in packets[8:12]]
    for place, size in places:
        content[place + 8 : place + 8 + size] = b"\xff" * size
    video.write_bytes(content)
    for seconds in (0, 4, 8, 12):
        assert abs(shown(video, seconds) - (4 * seconds * RATE + 10)) < 1.9


@pytest.mark.parametrize("member", ["nan.png", "inf.png", "x.png", ".png", "12.510.png", "1000000.000.png"])
def test_what_is_no_time_is_a_failure(video: Path, member: str) -> None:
    with pytest.raises(ImageError, match="no frame|the frame cannot be read"):
        read_image(f"{video}::{member}")
    assert abs(shown(video, 1) - 26) < 1.9


def test_threads_read_the_same_frames(video: Path) -> None:
    paths = [item.path for item in list_images([video], every=1)] * 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_image, paths)) == [read_image(path) for path in paths]


def test_indexing_again_changes_nothing(video: Path, store: VectorStore) -> None:
    assert index(list_images([video]), store).indexed == 3
    assert index(list_images([video]), store).unchanged == 3
    assert index(list_images([video], every=2.5), store).indexed == 2


def test_a_damaged_video_is_a_warning_and_a_frame_beyond_its_end_a_failure(video: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    images = list_images([tmp_path / "bad.mp4", video])
    assert len(images) == 3
    (warning,) = images.warnings
    assert "bad.mp4' cannot be read" in warning
    video.write_bytes(video.read_bytes()[:2000])
    with pytest.raises(ImageError, match="the frame cannot be read"):
        read_image(images[2].path)


def test_without_the_package_the_message_says_what_to_install(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    images = list_images([video])
    assert not images
    assert "pip install t2c-search[video]" in images.warnings[0]
